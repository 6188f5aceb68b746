#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace acer {

// One layer of an exported network, as the TorchScript file holds it.
struct Layer {
  enum class Kind { affine, layer_norm, relu };
  Kind kind = Kind::relu;
  std::vector<float> weight;  // affine: [rows, columns]; layer_norm: [rows]
  std::vector<float> bias;    // [rows]
  std::size_t rows = 0;
  std::size_t columns = 0;
  float epsilon = 0.0F;       // of layer_norm
};

// A network for one observation at a time. It packs the weights once, in the order in which a product reads them.
class Network {
 public:
  // Throws InputError if the layers do not fit each other.
  explicit Network(const std::vector<Layer>& layers);
  ~Network();
  Network(Network&&) noexcept;

  std::size_t inputs() const { return inputs_; }
  std::size_t outputs() const { return outputs_; }

  // The caller writes `inputs()` numbers here before `run`.
  float* input() noexcept;

  // Returns `outputs()` numbers, which the next call overwrites. It allocates nothing.
  const float* run() noexcept;

 private:
  struct Packed;
  std::unique_ptr<Packed> packed_;
  std::size_t inputs_ = 0;
  std::size_t outputs_ = 0;
};

}  // namespace acer
