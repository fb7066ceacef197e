// Reads a whole buffer as fast as the device can, and folds it so that no read can be left out.

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> folded: array<u32>; // one word a thread

const WORKGROUP_SIZE = 256u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  // Neighbouring threads read neighbouring words, in strides of all threads.
  let stride = groups.x * WORKGROUP_SIZE;
  let count = arrayLength(&source);
  var fold = vec4<u32>(0u);
  for (var i = id.x; i < count; i += stride) {
    fold ^= source[i];
  }
  folded[id.x] = fold.x ^ fold.y ^ fold.z ^ fold.w;
}
