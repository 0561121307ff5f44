#include "plan.h"

#include <cstring>
#include <random>

namespace gpushim {

std::uint64_t planChecksum(const void* data, std::size_t bytes) {
  std::uint64_t h = 14695981039346656037u;
  for (std::size_t i = 0; i < bytes; i++) h = (h ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return h;
}

std::string makePlan(PlanHeader header, const std::vector<float>& weights) {
  std::memcpy(header.magic, kPlanMagic, sizeof header.magic);
  header.weights = weights.size();
  std::string plan(sizeof header + weights.size() * sizeof(float), '\0');
  std::memcpy(&plan[sizeof header], weights.data(), weights.size() * sizeof(float));
  std::memcpy(&plan[0], &header, sizeof header);
  const std::size_t skip = sizeof header.magic + sizeof header.checksum;
  header.checksum = planChecksum(plan.data() + skip, plan.size() - skip);
  std::memcpy(&plan[0], &header, sizeof header);
  return plan;
}

std::string makePlan(PlanHeader header, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> weights(header.weights);
  for (float& w : weights) w = float(random() % 2001) / 1000 - 1;
  return makePlan(header, weights);
}

}  // namespace gpushim
