/**
 * `deno task checkpoint convert`: another format, another precision. Weights stream from the one to the
 * other, and the result appears whole or not at all.
 * @module
 */

import { join, resolve } from "node:path";
import { writeDirectory, writeDurably } from "../../common/checkpoint/atomic_directory.ts";
import {
  type BlockTensor,
  blockTensor,
  writeSafetensorsBlocks,
} from "../../common/checkpoint/block_writer.ts";
import { checkTensors } from "../../common/checkpoint/check_tensors.ts";
import { readCheckpointFiles } from "../../common/checkpoint/checkpoint_files.ts";
import type { WritableDtype } from "../../common/checkpoint/dtype.ts";
import { CheckpointError } from "../../common/checkpoint/errors.ts";
import { type CheckpointMetadata, formatMetadata } from "../../common/checkpoint/metadata.ts";
import { type MappedTensor, readMapped } from "../../common/checkpoint/names/mapped_tensor.ts";
import { checkTied } from "../../common/checkpoint/names/tied.ts";
import { openTensorSource } from "../../common/checkpoint/open_source.ts";
import { writeOrbaxCheckpoint } from "../../common/checkpoint/orbax_export.ts";
import { planBackbone, recognise, type Recognition } from "../../common/checkpoint/recognise.ts";
import { planValueHead } from "../../common/checkpoint/names/stacked.ts";
import { elementCount } from "../../common/checkpoint/safetensors_header.ts";
import type { TensorSource } from "../../common/checkpoint/tensor_source.ts";
import { UsageError } from "../../common/cli/flags.ts";
import { readAssetFiles } from "../../common/policy/load_assets.ts";
import { foreignFacts, foreignMetadata } from "../../common/policy/load_description.ts";
import { backboneSpecs } from "../../common/policy/parameters.ts";
import { type VariantName, VARIANTS } from "../../common/policy/variants.ts";
import { loadQuantizedInThreads } from "../../common/quant/load_quantized_threads.ts";
import { writeQuantizedFile } from "../../common/quant/quantized_file.ts";
import type { Bits } from "../../common/quant/quantized_tensor.ts";
import type { HostTensor } from "../../common/types.ts";
import { parseSubcommand } from "./arguments.ts";
import { ProgressBar } from "./progress_bar.ts";

const DTYPES = { float32: "F32", bfloat16: "BF16", float16: "F16" } as const satisfies Record<
  string,
  WritableDtype
>;

const SUBCOMMAND = {
  name: "deno task checkpoint convert SRC DEST",
  summary:
    "Write a checkpoint of any origin as a Tendon safetensors checkpoint or as an Orbax one " +
    "that openpi reads. The optimiser's state is left out. What LeRobot's config.json and " +
    "statistics say goes into the metadata and assets of a Tendon checkpoint.",
  paths: ["SRC", "DEST"],
  flags: {
    format: {
      kind: "choice",
      choices: ["safetensors", "orbax"],
      default: "safetensors",
      description:
        "Format of DEST. In orbax, openpi reads DEST/params; a critic goes to DEST/value_head.",
    },
    dtype: {
      kind: "choice",
      choices: ["float32", "bfloat16", "float16"],
      default: "float32",
      description: "Precision of the stored weights; rounded to nearest, ties to even.",
    },
    quantize: {
      kind: "choice",
      choices: ["none", "int8", "int4"],
      default: "none",
      description:
        "Store the actor's matrices in 8 or 4 bits, groups of 32 with a half-precision scale " +
        "each; the critic and all that is no matrix stay in float32. Only with --format " +
        "safetensors and --dtype float32. openpi does not read it; Tendon runs it as it is.",
    },
  },
} as const satisfies Parameters<typeof parseSubcommand>[0];

/** The weights of a checkpoint under Tendon's names, checked, and what came with them. */
interface Opened {
  readonly recognition: Recognition;
  readonly mapped: readonly MappedTensor[];
  readonly head: readonly MappedTensor[];
  readonly variant: VariantName;
  readonly actorBackbone: readonly BlockTensor[];
  readonly valueHead: readonly BlockTensor[] | undefined;
  readonly notes: readonly string[];
}

async function openWeights(source: TensorSource): Promise<Opened> {
  const recognition = recognise(source);
  const { variant } = recognition;
  if (variant === "unknown") {
    throw new CheckpointError(
      `Cannot convert ${source.path}: its shapes are those of no variant ` +
        `(${Object.keys(VARIANTS).join(", ")}).`,
    );
  }
  const specs = backboneSpecs(VARIANTS[variant]).map(({ path, shape }) => ({ name: path, shape }));
  const plan = planBackbone(source, VARIANTS[variant], specs);
  checkTensors(plan.wanted, plan.found, `${source.path} as ${variant}`, source.skipped);
  await checkTied(source, plan);
  const head = planValueHead(source.tensors);
  return {
    recognition,
    mapped: plan.mapped,
    head: recognition.kind === "actor_critic" ? head : [],
    variant,
    actorBackbone: plan.mapped.map((mapped) => blockTensor(source, mapped)),
    valueHead: recognition.kind === "actor_critic"
      ? head.map((mapped) => blockTensor(source, mapped))
      : undefined,
    notes: [...recognition.notes, ...plan.notes],
  };
}

const prefixed = (prefix: string, tensors: readonly BlockTensor[]): BlockTensor[] =>
  tensors.map(({ name, shape, blocks }) => ({ name: prefix + name, shape, blocks }));

/** Metadata of a LeRobot checkpoint; undefined for any other, and for one without `config.json`. */
async function lerobotMetadata(
  src: string,
  recognition: Recognition,
): Promise<CheckpointMetadata | undefined> {
  const { origin, variant } = recognition;
  if (origin !== "lerobot" || variant === "unknown") return undefined;
  const facts = await foreignFacts(src, recognition);
  if (facts.lerobot === undefined) return undefined;
  return {
    ...foreignMetadata(src, facts, { variant }),
    createdAt: new Date().toISOString(),
    command: SUBCOMMAND.name,
  };
}

/** What lies in a Tendon checkpoint beside its weights. */
interface Beside {
  readonly metadata: CheckpointMetadata | undefined;
  readonly assets: ReadonlyMap<string, Uint8Array>;
}

/** Write what Tendon reads: with metadata where the source had it, else the weights and assets. */
async function writeTendon(
  dest: string,
  { metadata, assets }: Beside,
  writeParams: (path: string) => Promise<number>,
): Promise<void> {
  await writeDirectory(dest, async (temporary) => {
    await Deno.mkdir(join(temporary, "params"));
    const params = "params/model.safetensors";
    const files: Record<string, number> = { [params]: await writeParams(join(temporary, params)) };
    for (const [path, bytes] of assets) {
      await writeDurably(join(temporary, "assets", path), bytes);
      files[`assets/${path}`] = bytes.length;
    }
    if (metadata === undefined) return;
    const text = formatMetadata({ ...metadata, files });
    await writeDurably(join(temporary, "metadata.json"), new TextEncoder().encode(text));
  });
}

/** Count what passes, for the bar. */
function counted(tensors: readonly BlockTensor[], onNumbers: (count: number) => void) {
  return tensors.map(({ name, shape, blocks }): BlockTensor => ({
    name,
    shape,
    async *blocks() {
      for await (const block of blocks()) {
        onNumbers(elementCount(block.shape));
        yield block;
      }
    },
  }));
}

/** Write the actor in few bits. */
async function writeQuantized(
  source: TensorSource,
  dest: string,
  { mapped, head, variant }: Opened,
  beside: Beside,
  bits: Bits,
): Promise<string> {
  using bar = new ProgressBar("quantising");
  const target = { bits, kinds: VARIANTS[variant].quantized };
  const { matrices, floats } = await loadQuantizedInThreads(source.path, mapped, target, {
    onProgress: ({ done, total }) => bar.update(4 * done, 4 * total),
  });
  const under = <T extends { readonly name: string }>(prefix: string, tensors: Iterable<T>) =>
    [...tensors].map((tensor): [string, T] => {
      const name = prefix + tensor.name;
      return [name, { ...tensor, name }];
    });
  const critic: HostTensor[] = [];
  for (const tensor of head) critic.push(await readMapped(source, tensor));
  const weights = {
    matrices: new Map(under("actor_backbone/", matrices.values())),
    floats: new Map([
      ...under("actor_backbone/", floats.values()),
      ...under("value_head/", critic),
    ]),
  };
  let size = 0;
  await writeTendon(dest, beside, async (path) => size = await writeQuantizedFile(path, weights));
  return `Wrote ${dest}: ${matrices.size} matrices in ${bits} bits and ` +
    `${weights.floats.size} other tensors, ${(size / 1e6).toFixed(1)} MB.`;
}

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param print Takes lines for standard output.
 */
export async function runConvert(
  args: readonly string[],
  print: (line: string) => void,
): Promise<void> {
  const parsed = parseSubcommand(SUBCOMMAND, args);
  if (parsed.kind === "help") return print(parsed.text);
  const { paths: [src, dest], flags } = parsed;
  const [from, to] = [resolve(src), resolve(dest)];
  if (from === to || from.startsWith(`${to}/`) || to.startsWith(`${from}/`)) {
    throw new UsageError(
      `Cannot convert ${src} to ${dest}: one of them lies in the other; choose another DEST.`,
    );
  }
  const dtype = DTYPES[flags.dtype as keyof typeof DTYPES];
  const bits = ({ none: undefined, int8: 8, int4: 4 } as const)[flags.quantize];
  if (bits && (flags.format !== "safetensors" || flags.dtype !== "float32")) {
    throw new UsageError(
      `--quantize ${flags.quantize} takes --format safetensors and --dtype float32: quantised ` +
        "weights are neither read by openpi nor rounded before they are quantised.",
    );
  }
  using source = await openTensorSource(src);
  const opened = await openWeights(source);
  const { metadata: own } = await readCheckpointFiles(src);
  const lerobot = own ? undefined : await lerobotMetadata(src, opened.recognition);
  const metadata = own ?? lerobot;
  const assets = await readAssetFiles(src);
  const sayNotes = () => {
    for (const note of new Set([...opened.notes, ...lerobot?.notes ?? []])) print(`note: ${note}`);
  };
  if (bits) {
    const sentence = await writeQuantized(source, dest, opened, { metadata, assets }, bits);
    sayNotes();
    return print(sentence);
  }
  const all = [...opened.actorBackbone, ...opened.valueHead ?? []];
  const total = all.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  let done = 0;
  {
    using bar = new ProgressBar("converting");
    const count = (numbers: number) => bar.update(4 * (done += numbers), 4 * total);
    const weights = {
      ...opened,
      actorBackbone: counted(opened.actorBackbone, count),
      valueHead: opened.valueHead && counted(opened.valueHead, count),
    };
    if (flags.format === "orbax") await writeOrbaxCheckpoint(dest, { ...weights, assets, dtype });
    else {
      await writeTendon(dest, { metadata, assets }, (path) =>
        writeSafetensorsBlocks(path, [
          ...prefixed("actor_backbone/", weights.actorBackbone),
          ...prefixed("value_head/", weights.valueHead ?? []),
        ], dtype));
    }
  }
  sayNotes();
  const { kind, origin, variant } = opened.recognition;
  print(
    `Wrote ${dest}: ${kind} of ${variant}, ${all.length} tensors with ` +
      `${
        total.toLocaleString("en")
      } parameters as ${flags.dtype}, from ${origin}'s ${source.format}.`,
  );
}
