#include "policy.hpp"

#include <ATen/Parallel.h>
#include <openssl/sha.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "input_error.hpp"

namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.find_last_of('\n') + 1);  // npos + 1 is 0
}

std::string sha256(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// torch does not notice a flipped bit among the weights; the hash that acer-export writes beside the file does.
void check_hash(const std::filesystem::path& policy) {
  const auto beside = std::filesystem::path(policy).replace_extension(".json");
  if (!std::filesystem::is_regular_file(beside)) return;
  const auto metadata = nlohmann::json::parse(contents(beside), nullptr, /*allow_exceptions=*/false);
  if (!metadata.is_object() || !metadata.contains("file_sha256")) {
    throw InputError(beside.string() + " is not the metadata of an exported policy; restore or remove it");
  }
  if (metadata["file_sha256"] != sha256(contents(policy))) {
    throw InputError(policy.string() + " does not have the sha256 that " + beside.filename().string() +
                     " records; copy both files again");
  }
}

void check_width(const char* what, std::size_t got, std::size_t expected) {
  if (got != expected) {
    throw std::invalid_argument("the policy " + std::string(what) + " of " + std::to_string(expected) +
                                " numbers, not of " + std::to_string(got));
  }
}

torch::jit::Module load(const std::string& path, std::string& metadata) {
  if (!std::filesystem::is_regular_file(path)) {
    throw InputError(path + " does not exist; give a policy.pt that acer-export wrote");
  }
  check_hash(path);
  torch::jit::ExtraFilesMap extra{{"policy.json", ""}};
  try {
    auto module = torch::jit::load(path, torch::kCPU, extra);
    metadata = extra.at("policy.json");
    return module;
  } catch (const c10::Error& error) {
    throw InputError(path + " cannot be read as a TorchScript file: " + first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw InputError(path + " cannot be read as a TorchScript file: " + first_line(error.what()));
  }
}

}  // namespace

struct Policy::Network {
  torch::jit::Module module;
  torch::jit::Function* forward = nullptr;
  torch::Tensor observation;
  torch::jit::Stack stack;  // kept between calls, so that a call allocates no stack
};

Policy::Policy(const std::string& path) : network_(std::make_unique<Network>()) {
  at::set_num_threads(1);  // for one observation more threads only add jitter
  const torch::InferenceMode guard;
  std::string metadata;
  network_->module = load(path, metadata);
  task_ = read_task(metadata, path);
  network_->forward = &network_->module.get_method("forward").function();
  network_->observation = torch::zeros({static_cast<long>(task_.observation.size())}, torch::kFloat32);

  // The first calls compile. They also check that the widths of the network are those of its metadata.
  std::vector<float> command(task_.joints.size());
  const std::vector<float> zeros(task_.observation.size(), 0.0F);
  try {
    for (int call = 0; call < 20; ++call) act(zeros, command);
    reset();
  } catch (const std::exception& error) {
    // An error inside the network is reported in many lines; the last one says what went wrong.
    throw InputError(path + " does not act as its metadata says: " + last_line(error.what()));
  }
}

Policy::~Policy() = default;

void Policy::reset() {
  const torch::InferenceMode guard;
  network_->module.get_method("reset")({});
}

bool Policy::act(const std::vector<float>& observation, std::vector<float>& command) {
  check_width("takes an observation", observation.size(), task_.observation.size());
  check_width("writes a command", command.size(), task_.joints.size());
  const torch::InferenceMode guard;
  auto& stack = network_->stack;
  std::copy(observation.begin(), observation.end(), network_->observation.data_ptr<float>());
  stack.clear();
  stack.emplace_back(network_->module._ivalue());
  stack.emplace_back(network_->observation);
  network_->forward->run(stack);
  const torch::Tensor& got = stack.back().toTensor();
  TORCH_CHECK(got.numel() == static_cast<long>(command.size()), "it gives ", got.numel(), " commands for ",
              command.size(), " joints");
  std::copy_n(got.const_data_ptr<float>(), command.size(), command.begin());
  // The file's method act() reports this too, but it takes 2 us longer than forward().
  return std::all_of(observation.begin(), observation.end(), [](float value) { return std::isfinite(value); });
}
