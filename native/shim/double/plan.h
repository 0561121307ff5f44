// The format of the double's plans: a header, and FP32 weights. All numbers are
// little-endian. The Go tests write the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gpushim {

// A plan computes, for each row x of the batch,
//
//	y[j] = sum over k with k % outputs == j of weight[k] * x[k % inputs]
//	total = sum of y
//
// With kPlanScale its tensors are called "input" and "output", as those of the ONNX
// model that it was made of, and there is no total.
struct PlanHeader {
  char magic[8];           // "DOUBLEP1"
  std::uint64_t checksum;  // FNV-1a of all that follows
  std::uint32_t inputs, outputs;
  std::uint32_t maxBatch;  // 0: no batch dimension
  std::uint32_t flags;
  std::uint32_t micros;  // that a run takes
  std::uint32_t blocks;  // allocations that hold the weights
  std::uint64_t weights;
};

constexpr char kPlanMagic[] = "DOUBLEP1";
constexpr std::uint32_t kPlanForeign = 1;  // built for another version: does not load
constexpr std::uint32_t kPlanScale = 2;

std::uint64_t planChecksum(const void* data, std::size_t bytes);

// A whole plan with these weights; the header's magic, checksum and number of
// weights are filled in.
std::string makePlan(PlanHeader header, const std::vector<float>& weights);
// Likewise, with weights from a seed, as many as the header says.
std::string makePlan(PlanHeader header, std::uint64_t seed);

}  // namespace gpushim
