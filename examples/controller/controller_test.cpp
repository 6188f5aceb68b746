// Checks of the library that tests/test_controller.py runs: controller_test CHECK ARGUMENTS.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <string>

#include "acer_controller.hpp"

namespace {

long allocations = 0;  // calls of malloc and its kin since the start of the program

}  // namespace

// The linker finds these before the ones of the C library. They count, and ask the C library.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

#if !defined(__SANITIZE_ADDRESS__)
void* malloc(std::size_t size) { return ++allocations, __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return ++allocations, __libc_calloc(count, size); }
void* realloc(void* memory, std::size_t size) { return ++allocations, __libc_realloc(memory, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return ++allocations, __libc_memalign(alignment, size); }
#endif
}

namespace {

struct Buffers {
  explicit Buffers(const acer::TaskDescription& task) : observation(task.observation.size()), command(task.joints.size()) {}

  void draw(std::mt19937& random, int step) {
    std::normal_distribution<float> normal;
    for (float& value : observation) value = normal(random);
    if (step % 10 == 9) observation[0] = static_cast<float>(NAN);
  }

  std::vector<float> observation, command;
};

// POLICY OBSERVATION_WIDTH COMMAND_WIDTH: prints what Policy::act says to vectors of any width.
int widths(const char* path, const char* observation_width, const char* command_width) {
  acer::Policy policy(path);
  const std::vector<float> observation(std::stoul(observation_width), 0.5F);
  std::vector<float> command(std::stoul(command_width), 7.0F);
  const auto result = policy.act(observation, command);
  std::printf("%s %g\n", result == acer::Policy::Result::wrong_width ? "wrong width" : "usable", command.at(0));
  return 0;
}

// POLICY: prints the number of allocations in a thousand decisions after the first.
int count_allocations(const char* path) {
  acer::Policy policy(path);
  Buffers buffers(policy.task());
  std::mt19937 random(0);
  policy.act(buffers.observation, buffers.command);
  const long before = allocations;
  for (int step = 0; step < 1000; ++step) {
    buffers.draw(random, step);
    policy.act(buffers.observation, buffers.command);
    if (step % 100 == 0) policy.reset();
  }
  std::printf("%ld allocations, %ld at loading\n", allocations - before, before);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string check = argc > 1 ? argv[1] : "";
    if (check == "widths" && argc == 5) return widths(argv[2], argv[3], argv[4]);
    if (check == "allocations" && argc == 3) return count_allocations(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: controller_test widths|allocations ...\n");
  return 2;
}
