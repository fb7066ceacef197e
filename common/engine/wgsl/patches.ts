/**
 * Pictures become patches: bytes to numbers in [−1, 1], and the pixels of a patch side by side, so that
 * the patch embedding is one product.
 *
 * @module
 */

import { type SiglipSize, tokensPerImage } from "../../policy/variants.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { binding, PLACES, text } from "./shared.ts";

/** Quads of numbers that a workgroup writes. */
export const PATCH_THREADS = 64;

/**
 * Numbers of a patch: its pixels row by row, three colours each, in the order of the patch embedding.
 * @param size The image encoder's sizes.
 */
export function patchColumns({ patch }: Pick<SiglipSize, "patch">): number {
  return patch * patch * 3;
}

/**
 * 32-bit words of a picture, the last filled up.
 * @param size The image encoder's sizes.
 */
export function pictureWords({ imageSize }: Pick<SiglipSize, "imageSize">): number {
  return Math.ceil(imageSize * imageSize * 3 / 4);
}

/**
 * The kernel. It binds `places` (token t of the batch is image token `at[t].position`, counted through
 * all cameras), `pixels` (`[cameras, words of a picture]`) and writes `patches`
 * (`[T, patch · patch · 3 padded]`, zeros behind).
 *
 * @param size Sizes.
 * @returns The kernel; run ⌈T · quads of a row / 64⌉ workgroups.
 */
export function patchesKernel(
  size: Pick<SiglipSize, "imageSize" | "patch">,
): Kernel {
  const { imageSize, patch } = size;
  const columns = patchColumns(size);
  const body = `
const QUADS = ${paddedColumns(columns) / 4}u;
const TOKENS = ${tokensPerImage(size)}u; // of a picture
const SIDE = ${imageSize / patch}u; // patches of a row
const RUN = ${3 * patch}u; // numbers of a patch that lie side by side in a picture
fn colour(camera: u32, byte: u32) -> f32 {
  let word = pixels[camera * ${pictureWords(size)}u + byte / 4u];
  return f32((word >> (8u * (byte % 4u))) & 255u) / 127.5 - 1.0;
}
@compute @workgroup_size(${PATCH_THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let t = id.x / QUADS;
  if (t >= places.tokens) { return; }
  let camera = places.at[t].position / TOKENS;
  let patch_index = places.at[t].position % TOKENS;
  let corner = (patch_index / SIDE) * ${patch * imageSize * 3}u + (patch_index % SIDE) * RUN;
  var numbers = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    let column = id.x % QUADS * 4u + i;
    if (column < ${columns}u) {
      numbers[i] = colour(camera, corner + column / RUN * ${imageSize * 3}u + column % RUN);
    }
  }
  patches[id.x] = numbers;
}`;
  return defineKernel("patches", [
    PLACES,
    binding("pixels", "read", "array<u32>"),
    binding("patches", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}
