/**
 * The names of big_vision and openpi, in which layers are stacked on axis 0. Tendon's are the same
 * below `actor_backbone/`, PaliGemma's npz has them without `PaliGemma/`, and Orbax may end each in
 * `value` and begin each with `params`.
 *
 * @module
 */

import type { TensorShape } from "../check_tensors.ts";
import type { StoredTensor } from "../tensor_source.ts";
import type { MappedTensor } from "./mapped_tensor.ts";
import { adapterNotes, isAdapter, type LoadPlan } from "./plan.ts";

/** Where the names of a file differ from the model's. */
export interface StackedNames {
  /** Who writes such names. */
  readonly origin: "tendon" | "openpi" | "paligemma";
  /** The file's name of one of the model's tensors, such as `PaliGemma/llm/final_norm/scale`. */
  fileName(name: string): string;
  /** The model's name of one of the file's tensors; value heads keep `value_head/`. */
  modelName(fileName: string): string;
}

/** What stands in front of the names of each origin, after `params/`, and what it means. */
const ORIGINS = [
  { origin: "tendon", file: "actor_backbone/", model: "" },
  { origin: "openpi", file: "PaliGemma/", model: "PaliGemma/" },
  { origin: "paligemma", file: "llm/", model: "PaliGemma/llm/" },
  { origin: "paligemma", file: "img/", model: "PaliGemma/img/" },
] as const;

/**
 * Find out how a file spells the names.
 *
 * @param names All names of the file.
 * @returns How; undefined when these are not such names.
 */
export function stackedNames(names: readonly string[]): StackedNames | undefined {
  const separator = names.some((name) => name.includes("/")) ? "/" : ".";
  const spelled = (name: string) => separator === "/" ? name : name.replaceAll("/", separator);
  const slashed = (name: string) => separator === "/" ? name : name.replaceAll(separator, "/");
  const all = names.map(slashed);
  let prefix = "";
  while (all.length > 0 && all.every((name) => name.startsWith(`${prefix}params/`))) {
    prefix += "params/";
  }
  const suffix = all.length > 0 && all.every((name) => name.endsWith("/value")) ? "/value" : "";
  const bare = all.map((name) => name.slice(prefix.length, name.length - suffix.length));
  const found = ORIGINS.find(({ file }) => bare.some((name) => name.startsWith(file)));
  if (found === undefined) return undefined;
  const rules = ORIGINS.filter(({ origin }) => origin === found.origin);
  return {
    origin: found.origin,
    fileName: (name) => {
      const rule = rules.find(({ model }) => name.startsWith(model));
      const own = rule === undefined || name.startsWith("value_head/")
        ? name
        : rule.file + name.slice(rule.model.length);
      return spelled(prefix + own + suffix);
    },
    modelName: (fileName) => {
      const name = slashed(fileName).slice(prefix.length).replace(
        /\/value$/,
        (end) => suffix === "" ? end : "",
      );
      const rule = rules.find(({ file }) => name.startsWith(file));
      return rule === undefined ? name : rule.model + name.slice(rule.file.length);
    },
  };
}

/**
 * Plan to read a model from such a file. Tensors below `value_head/` are left to the caller.
 *
 * @param names How the file spells names.
 * @param stored What the file holds.
 * @param wanted The backbone that is wanted, with the model's names.
 * @returns The plan; nothing has been checked.
 */
export function planStacked(
  names: StackedNames,
  stored: readonly StoredTensor[],
  wanted: readonly TensorShape[],
): LoadPlan {
  const there = new Set(stored.map(({ name }) => name));
  const missingAdapters = wanted
    .filter(({ name }) => isAdapter(name) && !there.has(names.fileName(name)))
    .map(({ name }) => name);
  const drawn = new Set(missingAdapters);
  const mapped = wanted.filter(({ name }) => !drawn.has(name)).map((
    { name, shape },
  ): MappedTensor => ({
    name,
    shape,
    pieces: [{ source: names.fileName(name), sourceShape: shape, index: [] }],
  }));
  return {
    mapped,
    wanted: mapped.map(({ pieces: [{ source }], shape }) => ({ name: source, shape })),
    found: stored.filter(({ name }) => !names.modelName(name).startsWith("value_head/")),
    missingAdapters,
    notes: adapterNotes(missingAdapters),
  };
}

/**
 * The tensors of a value head, under their names below `value_head/`.
 *
 * @param stored What the file holds.
 * @returns Them as they are; none when there is no value head.
 */
export function planValueHead(stored: readonly StoredTensor[]): MappedTensor[] {
  const names = stackedNames(stored.map(({ name }) => name));
  const prefix = "value_head/";
  return stored.flatMap(({ name: source, shape }) => {
    const name = names?.modelName(source) ?? source;
    if (!name.startsWith(prefix)) return [];
    const pieces = [{ source, sourceShape: shape, index: [] }];
    return [{ name: name.slice(prefix.length), shape, pieces }];
  });
}
