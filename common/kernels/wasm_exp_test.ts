import assert from "node:assert/strict";
import { add, assemble, get, i32, loadV128, set, storeV128, whileBelow } from "./wasm_assembler.ts";
import { VectorConstants } from "./wasm_constants.ts";
import { exponential } from "./wasm_exp.ts";
import { hasMultiplyAdd, multiplyAddIf } from "./wasm_multiply_add.ts";

/** exp() of numbers, a multiple of four of them. */
function exponentials(values: Float32Array, isFused: boolean): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const numbers = new Float32Array(memory.buffer, 0, values.length);
  numbers.set(values);
  const [bytes, k] = [0, 1];
  const [x, ...others] = [2, 3, 4, 5] as const;
  const constants = new VectorConstants(6);
  const parts = { multiplyAdd: multiplyAddIf(isFused), constant: constants.of };
  const loop = whileBelow(
    k,
    get(bytes),
    set(x, loadV128(get(k))),
    exponential(x, ...others, parts),
    storeV128(get(k), get(x)),
    set(k, add(get(k), i32(16))),
  );
  const locals = { i32: 1, f32: 0, v128: 4 + constants.count };
  const body = [...constants.prologue, ...loop];
  const code = assemble([{ name: "run", parameters: 1, locals, body }]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
  (exports.run as (bytes: number) => void)(values.byteLength);
  return numbers;
}

for (const isFused of hasMultiplyAdd() ? [false, true] : [false]) {
  const way = isFused ? "one rounding" : "two roundings";
  Deno.test(`exponential() with ${way} is exact to 3 parts in 10⁷ from −87.3 to 88`, () => {
    const values = Float32Array.from({ length: 20_000 }, (_, i) => -87.3 + 175.3 * i / 19_999);
    const found = exponentials(values, isFused);
    let most = 0;
    values.forEach((x, i) => most = Math.max(most, Math.abs(found[i] / Math.exp(x) - 1)));
    assert.ok(most < 3e-7, `${most}`);
  });

  Deno.test(`exponential() with ${way} gives 1 for 0, 0 far below and NaN for what is no number`, () => {
    const other = new Float32Array(new Int32Array([0x7fc00001]).buffer)[0];
    const values = [0, -0, -87.4, -1e4, -1e30, -2.3819763e38, -Infinity, NaN, other, -100, -88, 1];
    const found = exponentials(Float32Array.from(values), isFused);
    assert.deepEqual([...found.subarray(0, 11)], [1, 1, 0, 0, 0, 0, 0, NaN, NaN, 0, 0]);
  });
}
