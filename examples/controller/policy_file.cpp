#include "policy_file.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/ivalue.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "sha256.hpp"

namespace acer {

namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// The hash of all bytes, which acer-export writes beside the file. torch notices no flipped bit.
void check_hash(const std::filesystem::path& policy) {
  const auto beside = std::filesystem::path(policy).replace_extension(".json");
  if (!std::filesystem::is_regular_file(beside)) return;
  const auto metadata = nlohmann::json::parse(bytes_of(beside), nullptr, /*allow_exceptions=*/false);
  if (!metadata.is_object() || !metadata.contains("file_sha256")) {
    throw InputError(beside.string() + " is not the metadata of an exported policy; restore or remove it");
  }
  if (metadata["file_sha256"] != sha256(bytes_of(policy))) {
    throw InputError(policy.string() + " does not have the sha256 that " + beside.filename().string() +
                     " records; copy both files again");
  }
}

torch::jit::Module load(const std::string& path, std::string& metadata) {
  if (!std::filesystem::is_regular_file(path)) {
    throw InputError(path + " does not exist; give a policy.pt that acer-export wrote");
  }
  check_hash(path);
  torch::jit::ExtraFilesMap extra{{"policy.json", ""}};
  try {
    auto module = torch::jit::load(path, at::kCPU, extra);
    metadata = extra.at("policy.json");
    return module;
  } catch (const c10::Error& error) {
    throw InputError(path + " cannot be read as a TorchScript file: " + first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw InputError(path + " cannot be read as a TorchScript file: " + first_line(error.what()));
  }
}

// The sha256 over name, shape and bytes of every tensor, in order of their names: weights_sha256 of
// policies/exported/file.py. The bytes are little-endian, as on every machine that libtorch has wheels for.
std::string weights_sha256(const torch::jit::Module& module) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& parameter : module.named_parameters()) tensors[parameter.name] = parameter.value;
  for (const auto& buffer : module.named_buffers()) tensors[buffer.name] = buffer.value;
  std::string bytes;
  for (const auto& [name, given] : tensors) {
    const at::Tensor tensor = given.contiguous();
    bytes += name + '[';
    for (long i = 0; i < tensor.dim(); ++i) bytes += (i > 0 ? ", " : "") + std::to_string(tensor.size(i));
    bytes += ']';
    bytes.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  return sha256(bytes);
}

// The copy of policy.json that the module itself holds; "" if it holds none.
std::string metadata_of(const torch::jit::Module& module) {
  const auto method = module.find_method("metadata");
  return method ? (*method)({}).toStringRef() : "";
}

std::vector<float> numbers(const torch::jit::Module& module, const char* name) {
  const at::Tensor tensor = module.attr(name).toTensor().to(at::kFloat).contiguous();
  const float* first = tensor.const_data_ptr<float>();
  return {first, first + tensor.numel()};
}

c10::IValue constant(const torch::jit::Module& module, const char* name) {
  return module.hasattr(name) ? module.attr(name) : module.type()->getConstant(name);
}

Layer read_layer(const torch::jit::Module& module) {
  const std::string type = module.type()->name()->name();
  Layer layer;
  if (type == "ReLU") return layer;
  if (type != "Affine" && type != "LayerNorm") throw InputError("a layer of type " + type);
  layer.weight = numbers(module, "weight");
  layer.bias = numbers(module, "bias");
  layer.rows = layer.bias.size();
  if (type == "Affine") {
    layer.kind = Layer::Kind::affine;
    layer.columns = static_cast<std::size_t>(module.attr("weight").toTensor().size(1));
  } else {
    layer.kind = Layer::Kind::layer_norm;
    layer.epsilon = static_cast<float>(constant(module, "eps").toDouble());
  }
  return layer;
}

ModuleContents read_contents(const torch::jit::Module& module) {
  ModuleContents result;
  for (const auto& child : module.attr("network").toModule().named_children()) {
    result.layers.push_back(read_layer(child.value));
  }
  result.mean = numbers(module, "mean");
  result.lowest = numbers(module, "lowest");
  result.highest = numbers(module, "highest");
  result.half_range = numbers(module, "half_range");
  result.fallback = numbers(module, "fallback");
  result.low = numbers(module, "low");
  result.high = numbers(module, "high");
  result.rest = numbers(module, "rest");
  result.offset = numbers(module.attr("poison").toModule(), "bias");
  result.has_mean_bound = constant(module, "has_mean_bound").toBool();
  result.mean_bound = static_cast<float>(constant(module, "mean_bound").toDouble());
  result.clips = constant(module, "clips").toBool();
  result.is_filtered = constant(module, "is_filtered").toBool();
  result.observes_last_command = constant(module, "observes_last_command").toBool();
  if (result.is_filtered) {
    result.smoothing = static_cast<float>(constant(module, "smoothing").toDouble());
    result.steps = numbers(module, "steps");
    result.lowest_move = numbers(module, "lowest_move");
    result.highest_move = numbers(module, "highest_move");
    result.fallback_move = numbers(module, "fallback_move");
    result.middle_move = numbers(module, "middle_move");
    result.per_half_range = numbers(module, "per_half_range");
  }
  return result;
}

}  // namespace

struct PolicyFile::Module {
  torch::jit::Module module;
  torch::jit::Function* forward = nullptr;
  at::Tensor observation;
  torch::jit::Stack stack;  // kept between calls, so that a call allocates no stack
};

PolicyFile::PolicyFile(const std::string& path) : path_(path), module_(std::make_unique<Module>()) {
  at::set_num_threads(1);  // for one observation more threads only add jitter
  const c10::InferenceMode guard;
  module_->module = load(path, metadata_);
  if (const auto method = module_->module.find_method("forward")) module_->forward = &method->function();
}

PolicyFile::~PolicyFile() = default;
PolicyFile::PolicyFile(PolicyFile&&) noexcept = default;

ModuleContents PolicyFile::contents() const {
  const c10::InferenceMode guard;
  std::string reason;
  try {
    return read_contents(module_->module);
  } catch (const c10::Error& error) {
    reason = first_line(error.what_without_backtrace());
  } catch (const std::exception& error) {
    reason = first_line(error.what());
  }
  throw InputError(path_ + " holds a module that the packed engine does not know: " + reason +
                   "; run it with libtorch (--libtorch)");
}

void PolicyFile::check_unchanged() const {
  const c10::InferenceMode guard;
  const auto parsed = [](const std::string& text) {
    return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  };
  std::string reason;
  try {
    const auto metadata = parsed(metadata_);
    if (!metadata.contains("weights_sha256") || metadata["weights_sha256"] != weights_sha256(module_->module)) {
      throw InputError(path_ + " has other weights than those that its metadata records; export it again");
    }
    if (parsed(metadata_of(module_->module)) == metadata) return;
    reason = "its policy.json was changed after the export";
  } catch (const c10::Error& error) {
    reason = first_line(error.what_without_backtrace());
  }
  throw InputError(path_ + " has metadata that cannot be used: " + reason + "; export it again");
}

void PolicyFile::reset() {
  const c10::InferenceMode guard;
  module_->module.get_method("reset")({});
}

void PolicyFile::forward(const std::vector<float>& observation, std::vector<float>& command) {
  const c10::InferenceMode guard;
  TORCH_CHECK(module_->forward != nullptr, "it has no function forward");
  auto& stack = module_->stack;
  if (!module_->observation.defined()) {
    module_->observation = at::zeros({static_cast<long>(observation.size())}, at::kFloat);
  }
  std::copy(observation.begin(), observation.end(), module_->observation.mutable_data_ptr<float>());
  stack.clear();
  stack.emplace_back(module_->module._ivalue());
  stack.emplace_back(module_->observation);
  module_->forward->run(stack);
  const at::Tensor& got = stack.back().toTensor();
  TORCH_CHECK(got.numel() == static_cast<long>(command.size()), "it gives ", got.numel(), " commands for ",
              command.size(), " joints");
  std::copy_n(got.const_data_ptr<float>(), command.size(), command.begin());
}

}  // namespace acer
