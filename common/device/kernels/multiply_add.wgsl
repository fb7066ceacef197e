// Multiplies and adds in registers as fast as the device can, and keeps the results so that no step can
// be left out. A linear recurrence of each lane, so that what it ends with can be computed.

struct Work { rounds: u32 }

@group(0) @binding(0) var<uniform> work: Work;
@group(0) @binding(1) var<storage, read_write> results: array<vec4<f32>>; // one a thread

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // Eight independent chains hide the latency of one step.
  let start = vec4<f32>(0.0, 1.0, 2.0, 3.0) + f32(id.x % 4u);
  var a = start;
  var b = start + 1.0;
  var c = start + 2.0;
  var d = start + 3.0;
  var e = start + 4.0;
  var f = start + 5.0;
  var g = start + 6.0;
  var h = start + 7.0;
  let factor = vec4<f32>(0.5);
  let step = vec4<f32>(1.0);
  for (var round = 0u; round < work.rounds; round++) {
    a = fma(a, factor, step);
    b = fma(b, factor, step);
    c = fma(c, factor, step);
    d = fma(d, factor, step);
    e = fma(e, factor, step);
    f = fma(f, factor, step);
    g = fma(g, factor, step);
    h = fma(h, factor, step);
  }
  results[id.x] = a + b + c + d + e + f + g + h;
}
