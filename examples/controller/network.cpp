// Matrix-vector products of one observation. CMake compiles this file alone for the processor of this machine.
//
// A product reads each weight once, so it is as fast as the cache delivers weights. We store the matrix in panels of
// rows. Within a panel the weights of one column lie side by side, so one pass reads memory from front to back, and each
// panel has several independent sums.

#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "acer_controller.hpp"

namespace acer {

namespace {

#if defined(__AVX512F__)
constexpr std::size_t lanes = 16;
#elif defined(__AVX__)
constexpr std::size_t lanes = 8;
#else
constexpr std::size_t lanes = 4;
#endif
constexpr std::size_t wide = 8;  // vectors in a panel: enough sums to hide the latency of a multiply-add
constexpr std::size_t alignment = 64;

using Vector = float __attribute__((vector_size(lanes * sizeof(float))));

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};

std::size_t rounded_up(std::size_t size) { return (size + lanes - 1) / lanes * lanes; }

// Zeros, with room for whole vectors. Padding stays zero, so that it adds nothing to a sum.
class Buffer {
 public:
  explicit Buffer(std::size_t size = 0) {
    const std::size_t bytes = (std::max<std::size_t>(size, 1) * sizeof(float) + alignment - 1) / alignment * alignment;
    memory_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
    if (!memory_) throw std::bad_alloc();
    std::memset(memory_.get(), 0, bytes);
  }

  float* data() const noexcept { return memory_.get(); }

 private:
  std::unique_ptr<float, Free> memory_;
};

Vector load(const float* memory) noexcept {
  Vector value;
  std::memcpy(&value, memory, sizeof value);
  return value;
}

void store(float* memory, Vector value) noexcept { std::memcpy(memory, &value, sizeof value); }

float sum(Vector value) noexcept {
  float total = 0.0F;
  for (std::size_t i = 0; i < lanes; ++i) total += value[i];
  return total;
}

// y = bias + W x for one panel of `vectors` times `lanes` rows. Returns the weights of the next panel.
template <std::size_t vectors>
const float* multiply_panel(const float* weights, const float* bias, const float* x, std::size_t columns,
                            float* y) noexcept {
  Vector total[vectors];
  for (std::size_t v = 0; v < vectors; ++v) total[v] = load(bias + v * lanes);
  for (std::size_t column = 0; column < columns; ++column) {
    const float factor = x[column];
    for (std::size_t v = 0; v < vectors; ++v) total[v] += load(weights + v * lanes) * factor;
    weights += vectors * lanes;
  }
  for (std::size_t v = 0; v < vectors; ++v) store(y + v * lanes, total[v]);
  return weights;
}

struct Step {
  Layer::Kind kind;
  std::size_t rows, columns;
  float epsilon;
  Buffer weight, bias;
};

std::size_t panel_rows(std::size_t rows_left) { return rows_left >= wide * lanes ? wide * lanes : lanes; }

Step pack(const Layer& layer) {
  Step step{layer.kind, layer.rows, layer.columns, layer.epsilon, Buffer(), Buffer(rounded_up(layer.rows))};
  std::copy(layer.bias.begin(), layer.bias.end(), step.bias.data());
  if (layer.kind == Layer::Kind::layer_norm) {
    step.weight = Buffer(rounded_up(layer.rows));
    std::copy(layer.weight.begin(), layer.weight.end(), step.weight.data());
  } else if (layer.kind == Layer::Kind::affine) {
    const std::size_t padded = rounded_up(layer.rows);
    step.weight = Buffer(padded * layer.columns);
    float* next = step.weight.data();
    for (std::size_t first = 0; first < padded;) {
      const std::size_t height = panel_rows(padded - first);
      for (std::size_t column = 0; column < layer.columns; ++column) {
        for (std::size_t row = first; row < first + height; ++row) {
          *next++ = row < layer.rows ? layer.weight[row * layer.columns + column] : 0.0F;
        }
      }
      first += height;
    }
  }
  return step;
}

void multiply(const Step& step, const float* x, float* y) noexcept {
  const std::size_t padded = rounded_up(step.rows);
  const float* weights = step.weight.data();
  for (std::size_t first = 0; first < padded;) {
    const std::size_t height = panel_rows(padded - first);
    const float* bias = step.bias.data() + first;
    weights = height == lanes ? multiply_panel<1>(weights, bias, x, step.columns, y + first)
                              : multiply_panel<wide>(weights, bias, x, step.columns, y + first);
    first += height;
  }
}

// x = (x - mean) / sqrt(variance + epsilon) * weight + bias
void normalise(const Step& step, float* x) noexcept {
  const std::size_t whole = step.rows / lanes * lanes;
  const float count = static_cast<float>(step.rows);
  Vector totals{};
  for (std::size_t i = 0; i < whole; i += lanes) totals += load(x + i);
  float total = sum(totals);
  for (std::size_t i = whole; i < step.rows; ++i) total += x[i];
  const float mean = total / count;
  Vector squares{};
  for (std::size_t i = 0; i < whole; i += lanes) {
    const Vector centred = load(x + i) - mean;
    squares += centred * centred;
  }
  float square = sum(squares);
  for (std::size_t i = whole; i < step.rows; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0F / std::sqrt(square / count + step.epsilon);
  // Weight and bias of the padding are zero, so it stays zero.
  for (std::size_t i = 0; i < rounded_up(step.rows); i += lanes) {
    store(x + i, (load(x + i) - mean) * scale * load(step.weight.data() + i) + load(step.bias.data() + i));
  }
}

void rectify(float* x, std::size_t rows) noexcept {
  for (std::size_t i = 0; i < rows; ++i) x[i] = x[i] < 0.0F ? 0.0F : x[i];  // NaN stays NaN, as in torch
}

}  // namespace

struct Network::Packed {
  std::vector<Step> steps;
  Buffer input, here, there;
};

Network::Network(const std::vector<Layer>& layers) : packed_(std::make_unique<Packed>()) {
  if (layers.empty() || layers.front().kind != Layer::Kind::affine) {
    throw InputError("the policy's network does not begin with a matrix");
  }
  inputs_ = layers.front().columns;
  std::size_t width = inputs_, widest = 0;
  for (const Layer& layer : layers) {
    const bool affine = layer.kind == Layer::Kind::affine, relu = layer.kind == Layer::Kind::relu;
    const std::size_t expected = affine ? layer.rows * layer.columns : layer.rows;
    const bool fits = relu || (layer.weight.size() == expected && layer.bias.size() == layer.rows &&
                               (affine ? layer.columns : layer.rows) == width && layer.rows > 0);
    if (!fits) throw InputError("the layers of the policy's network do not fit each other");
    if (affine) width = layer.rows;
    widest = std::max(widest, width);
    packed_->steps.push_back(pack(layer));
    packed_->steps.back().rows = width;
  }
  outputs_ = width;
  packed_->input = Buffer(rounded_up(inputs_));
  packed_->here = Buffer(rounded_up(widest));
  packed_->there = Buffer(rounded_up(widest));
}

Network::~Network() = default;
Network::Network(Network&&) noexcept = default;

float* Network::input() noexcept { return packed_->input.data(); }

const float* Network::run() noexcept {
  const float* from = packed_->input.data();
  float* here = packed_->here.data();
  float* there = packed_->there.data();
  for (const Step& step : packed_->steps) {
    switch (step.kind) {
      case Layer::Kind::affine:
        multiply(step, from, there);  // the first step is one, so the input stays as it is
        from = there;
        std::swap(here, there);
        break;
      case Layer::Kind::layer_norm: normalise(step, here); break;
      case Layer::Kind::relu: rectify(here, step.rows); break;
    }
  }
  return from;
}

}  // namespace acer
