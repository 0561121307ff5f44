// The one kernel here: copies from host memory to the device.
#pragma once

namespace gpushim {

constexpr unsigned kPullBlocks = 32, kPullThreads = 512;

// copy(to, from, bytes): both addresses are multiples of 16. Each thread copies 16
// bytes at a time, and the first ones what is left at the end.
constexpr char kPullCode[] = R"(
.version 6.0
.target sm_50
.address_size 64
.visible .entry copy(.param .u64 to, .param .u64 from, .param .u64 bytes)
{
  .reg .pred %none, %over;
  .reg .b32 %block, %threads, %thread, %blocks, %a, %b, %c, %d;
  .reg .b64 %to, %from, %bytes, %whole, %self, %at, %step, %source, %target;
  .reg .b16 %byte;
  ld.param.u64 %to, [to];
  ld.param.u64 %from, [from];
  ld.param.u64 %bytes, [bytes];
  mov.u32 %block, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mov.u32 %blocks, %nctaid.x;
  mul.wide.u32 %self, %block, %threads;
  cvt.u64.u32 %at, %thread;
  add.u64 %self, %self, %at;
  mul.wide.u32 %step, %blocks, %threads;
  shl.b64 %at, %self, 4;
  shl.b64 %step, %step, 4;
  and.b64 %whole, %bytes, -16;
next:
  setp.ge.u64 %over, %at, %whole;
  @%over bra rest;
  add.u64 %source, %from, %at;
  add.u64 %target, %to, %at;
  ld.global.v4.u32 {%a, %b, %c, %d}, [%source];
  st.global.v4.u32 [%target], {%a, %b, %c, %d};
  add.u64 %at, %at, %step;
  bra next;
rest:
  add.u64 %at, %whole, %self;
  setp.ge.u64 %none, %at, %bytes;
  @%none bra end;
  add.u64 %source, %from, %at;
  add.u64 %target, %to, %at;
  ld.global.u8 %byte, [%source];
  st.global.u8 [%target], %byte;
end:
  ret;
}
)";

}  // namespace gpushim
