/**
 * How far prefills with rounded products move the policy: KL of the drawing distributions, along the
 * same tokens, as `common/policy/precision_gap.ts` has it for weights.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import type { GpuDevice } from "../device/gpu_device.ts";
import { openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import { imageTokens } from "../policy/network.ts";
import { textIds } from "../policy/sequence.ts";
import { makeObservations, normalSource, take } from "../policy/testing.ts";
import type { QuantizedWeights } from "../quant/quantized_tensor.ts";
import { closingTokens } from "../tokenizer/dialect.ts";
import { createMatmulChoice, type MatmulFormat, matmulFormats } from "./bind_matmul.ts";
import { planDecode } from "./decode_plan.ts";
import { createEngineBuffers, STATE_BYTES } from "./engine_buffers.ts";
import { capacityOf, type EngineModel, engineModelOf } from "./engine_model.ts";
import { EngineParameters } from "./engine_parameters.ts";
import { type EnginePrefix, layOutPrefix, placeWords, writeImageTokens } from "./engine_prefix.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Dispatch, KernelCache, record } from "./kernel.ts";
import { planMatrices } from "./matrix_plan.ts";
import { planPrefill } from "./prefill_plan.ts";
import { hasAdapter } from "./testing.ts";
import { defaultMatvec } from "./tuner.ts";
import { DECODE_STATE } from "./wgsl/shared.ts";

const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));
/** What int8 weights may cost as well, in nats a token. */
const MOST_NATS = 0.002;

/** A policy's kernels with prefills of one format, run step by step. */
async function openDecoder(
  gpu: GpuDevice,
  owned: GpuBuffers,
  model: EngineModel,
  weights: QuantizedWeights,
  format: MatmulFormat,
) {
  const plan = planMatrices(weights, { precision: "int8" });
  const parameters = new EngineParameters(model, plan, owned);
  for (const tensor of weights.floats.values()) parameters.write(tensor);
  const buffers = createEngineBuffers(model, owned);
  const kernels = new KernelCache(gpu.device);
  const { width, mlpDim, heads, headDim } = model.gemma;
  const widest = Math.max(width, mlpDim, heads * headDim);
  const products = createMatmulChoice(owned, format, capacityOf(model), widest);
  const decode = await planDecode(kernels, model, parameters, buffers, defaultMatvec(gpu));
  const prefill = await planPrefill(kernels, model, parameters, buffers, products);
  const run = (encoder: GPUCommandEncoder, dispatches: readonly Dispatch[], places: number) => {
    const pass = encoder.beginComputePass();
    record(pass, dispatches, places);
    pass.end();
  };
  return {
    buffers,
    /** Fill the cache and set the state that decoding begins with. */
    start(prefix: EnginePrefix, maxTokens: number): number {
      const { layout, ids } = layOutPrefix(model, prefix);
      const { queue } = gpu.device;
      const text = textIds(layout, ids, []);
      const head = text.length - 1;
      const place = layout.length - 1;
      const shown = Uint32Array.of(head, model.imageTokens, ...text.subarray(0, head));
      queue.writeBuffer(buffers.places, 0, placeWords(model, layout));
      queue.writeBuffer(buffers.ids, 0, shown);
      queue.writeBuffer(buffers.firstId, 0, Uint32Array.of(1, 0, text[head]));
      const { remaining, pending, budget } = model.grammar.start(maxTokens);
      const first: Record<string, number> = { place, remaining, pending, budget };
      queue.writeBuffer(buffers.state, 0, Uint32Array.from(DECODE_STATE, (w) => first[w] ?? 0));
      const choice = new Uint32Array(4);
      new Float32Array(choice.buffer)[0] = 1;
      choice[1] = 1; // takes the best
      queue.writeBuffer(buffers.choice, 0, choice);
      const encoder = gpu.device.createCommandEncoder();
      writeImageTokens(gpu.device, encoder, model, prefix.imageTokens, buffers.prefix.x);
      run(encoder, prefill.embedText, head);
      run(encoder, prefill.embedFirst, 1);
      run(encoder, prefill.layers, place);
      queue.submit([encoder.finish()]);
      return place;
    },
    step: (encoder: GPUCommandEncoder, places: number) => run(encoder, decode, places),
  };
}

/** Log-probabilities of the allowed tokens; −∞ for the others. */
function logSoftmax(logits: Float32Array, allowed: Uint8Array): Float64Array {
  const seen = Float64Array.from(logits, (logit, i) => allowed[i] ? logit : -Infinity);
  const top = Math.max(...seen);
  const total = Math.log(seen.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
  return seen.map((logit) => logit - top - total);
}

function divergence(p: Float64Array, q: Float64Array): number {
  return p.reduce(
    (sum, logP, i) => logP > -Infinity ? sum + Math.exp(logP) * (logP - q[i]) : sum,
    0,
  );
}

Deno.test({
  name: "prefills in half precision and in 8 bits leave the shipped policy's distributions alone",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadPolicy(REACH, {
      valueHeadHiddenDim: 16,
      valueInput: "observation",
      maxValueSteps: 8,
      isCriticDetached: true,
      normal: normalSource(1),
    });
    using _policy = policy;
    using gpu = await openAny();
    using owned = new GpuBuffers(gpu.device);
    const model = engineModelOf(policy);
    const { vocabSize: V } = model.grammar;
    const tensors = await policy.network.backbone.toHost();
    const floats = new Map(
      tensors.filter(({ name }) => name.includes("/llm/")).map((tensor) => [tensor.name, tensor]),
    );
    const weights = { matrices: new Map(), floats };
    const formats = matmulFormats(gpu);
    const decoders: Awaited<ReturnType<typeof openDecoder>>[] = [];
    for (const format of formats) {
      decoders.push(await openDecoder(gpu, owned, model, weights, format));
    }
    const { MAP_READ, COPY_DST } = GPUBufferUsage;
    const size = 4 * V * decoders.length;
    const staging = owned.create("logits", size, MAP_READ | COPY_DST);
    const nats = formats.map(() => 0);
    let tokens = 0;

    for (const observation of makeObservations(8, 3, policy.shape.variant.siglip.imageSize)) {
      const input = policy.prepareInput([observation]);
      const { prompts: [prompt], forced } = input.ids;
      const seen = await take(tf.tidy(() => imageTokens(policy.network, input)));
      const maxTokens = policy.shape.maxTokenLen - prompt.length - forced.length -
        closingTokens(policy.dialect);
      const prefix = { imageTokens: seen, prompt, forced };
      const [place] = decoders.map((decoder) => decoder.start(prefix, maxTokens));
      const [exact, ...others] = decoders;
      for (let s = 0, state = model.grammar.start(maxTokens); !model.grammar.isDone(state); s++) {
        const encoder = gpu.device.createCommandEncoder();
        decoders.forEach(({ step, buffers }, i) => {
          step(encoder, place + s + 1);
          encoder.copyBufferToBuffer(buffers.logits, 0, staging, 4 * V * i, 4 * V);
        });
        // All go on with the token that the exact one took.
        const { x } = exact.buffers.token;
        for (const { buffers } of others) {
          encoder.copyBufferToBuffer(exact.buffers.state, 0, buffers.state, 0, STATE_BYTES);
          encoder.copyBufferToBuffer(x, 0, buffers.token.x, 0, x.size);
        }
        gpu.device.queue.submit([encoder.finish()]);
        await staging.mapAsync(GPUMapMode.READ);
        const logits = new Float32Array(staging.getMappedRange().slice(0));
        staging.unmap();
        const allowed = model.grammar.allowed(state);
        const rows = formats.map((_, i) => logSoftmax(logits.subarray(i * V, i * V + V), allowed));
        rows.forEach((row, i) => nats[i] += divergence(row, rows[0]));
        state = model.grammar.next(state, rows[0].indexOf(Math.max(...rows[0])));
        tokens++;
      }
    }
    gpu.check();
    formats.forEach((format, i) => {
      const kl = nats[i] / tokens;
      assert.ok(format === "float32" ? kl === 0 : kl > 0, `${format}: ${kl} nats a token`);
      assert.ok(kl <= MOST_NATS, `${format}: ${kl} nats a token over ${tokens}`);
    });
  },
});
