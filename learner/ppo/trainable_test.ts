import assert from "node:assert/strict";
import { useDevice } from "../../common/policy/backend.ts";
import { CRITIC_PATHS } from "../../common/policy/chunk_decoder.ts";
import { readWeights } from "../../common/policy/load.ts";
import { makePolicy, MICRO, MICRO_LORA } from "../../common/policy/testing.ts";
import type { HostTensor } from "../../common/types.ts";
import { PRESETS } from "../../common/config/presets.ts";
import { seededRandom } from "../../common/random.ts";
import { sampleEstimates } from "../testing.ts";
import { type PpoOptions, PpoTrainer } from "./update.ts";

await useDevice("wasm");

const OPTIONS = { ...PRESETS.debug, epochs: 1, batchSize: 2, isCriticDetached: false };

const CASES: readonly {
  readonly name: string;
  readonly hasAdapters?: boolean;
  readonly options: Partial<PpoOptions>;
  readonly isTrained: (name: string) => boolean;
}[] = [
  {
    name: "the value head",
    options: { trainScope: "value_head" },
    isTrained: (name) => name.startsWith(CRITIC_PATHS),
  },
  {
    name: "adapters",
    hasAdapters: true,
    options: { trainScope: "auto", trainVision: false },
    isTrained: (name) => name.startsWith(CRITIC_PATHS) || name.includes("lora"),
  },
  {
    name: "the language model",
    options: { trainScope: "full", trainVision: false },
    isTrained: (name) => !name.includes("PaliGemma/img/"),
  },
  { name: "everything", options: { trainScope: "full" }, isTrained: () => true },
];

for (const { name, hasAdapters, options, isTrained } of CASES) {
  Deno.test(`where ${name} may change, an update tells that and changes nothing else`, async () => {
    using policy = makePolicy({ variant: hasAdapters ? MICRO_LORA : MICRO });
    using trainer = new PpoTrainer(policy, { ...OPTIONS, ...options });
    const before = await readWeights(policy);
    await trainer.update(await sampleEstimates(policy, 1, [1, -1, 0.5]), seededRandom(1));
    const told = await readWeights(policy, trainer.isTrained);
    const names = (tensors: readonly HostTensor[]) => tensors.map((tensor) => tensor.name);
    const [wanted, others] = [true, false].map((is) =>
      before.filter((t) => isTrained(t.name) === is)
    );
    assert.ok(wanted.length > 0);
    assert.deepEqual(names(told), names(wanted));
    assert.ok(told.some(({ data }, i) => data.some((x, j) => x !== wanted[i].data[j])));
    const after = new Map((await readWeights(policy)).map((tensor) => [tensor.name, tensor.data]));
    for (const tensor of others) assert.deepEqual(after.get(tensor.name), tensor.data);
  });
}
