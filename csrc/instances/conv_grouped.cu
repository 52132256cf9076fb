// The instances of conv_grouped: both floats of 16 bits, every number of channels a group, both strides.
#include "atrous/kernels/conv_grouped.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_grouped(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf4, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf4, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf8, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf8, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf16, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf16, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf24, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf24, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf32, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Float16Mma, GroupsOf32, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf4, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf4, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf8, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf8, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf16, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf16, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf24, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf24, 2>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf32, 1>));
  entries.push_back(ATROUS_KERNEL(conv_grouped<Bfloat16Mma, GroupsOf32, 2>));
}

}  // namespace atrous
