/**
 * Checks what a file holds against what a model wants, and says everything that differs at once, so
 * that nobody repairs a checkpoint one error at a time.
 *
 * @module
 */

import { QUANTIZED_DTYPES, READABLE_DTYPES } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";

/** Name and dimensions of a tensor. */
export interface TensorShape {
  /** Parameter path. */
  readonly name: string;
  /** Dimensions. */
  readonly shape: readonly number[];
}

/** What a model wants of a tensor. */
export interface WantedTensor extends TensorShape {
  /** Number formats that will do; every one that can be read when absent. */
  readonly dtypes?: readonly string[];
}

/** What a file says of a tensor. */
export interface FoundTensor extends TensorShape {
  /** Its number format. */
  readonly dtype: string;
}

/** One tensor that is not as it should be. */
export interface TensorDifference {
  /** Its name. */
  readonly name: string;
  /** What the model wants of it, such as `[2, 3]`; undefined when it is unexpected. */
  readonly expected: string | undefined;
  /** What the file has; undefined when it is missing. */
  readonly found: string | undefined;
}

/** Every difference, by kind; all lists are empty when the file fits. */
export interface TensorDifferences {
  /** Wanted and not there. */
  readonly missing: readonly TensorDifference[];
  /** There and not wanted. */
  readonly unexpected: readonly TensorDifference[];
  /** Of other dimensions. */
  readonly wrongShape: readonly TensorDifference[];
  /** Of a number format that will not do. */
  readonly wrongDtype: readonly TensorDifference[];
}

/** A tensor that a file holds in a form that is not read. */
export interface UnreadTensor {
  /** Its name. */
  readonly name: string;
  /** Why it is not read. */
  readonly reason: string;
}

/** Number formats that will do where nobody says otherwise. */
const ACCEPTED: readonly string[] = [...READABLE_DTYPES, ...QUANTIZED_DTYPES];

/** Lines of one kind that are shown; the rest is counted. */
const MAX_LINES = 12;

const show = (shape: readonly number[]) => `[${shape.join(", ")}]`;

/**
 * Compare two sets of tensors; order does not matter. A tensor of wrong shape and wrong dtype is in
 * both lists.
 *
 * @param wanted What the model wants.
 * @param found What there is.
 * @param unread What there is in a form that is not read; only what is wanted of it counts.
 * @returns Every difference, each list in the order of its input.
 */
export function compareTensors(
  wanted: readonly WantedTensor[],
  found: readonly FoundTensor[],
  unread: readonly UnreadTensor[] = [],
): TensorDifferences {
  const foundByName = new Map(found.map((tensor) => [tensor.name, tensor]));
  const unreadByName = new Map(unread.map(({ name, reason }) => [name, reason]));
  const wantedNames = new Set(wanted.map(({ name }) => name));
  const present = wanted.flatMap((want) => {
    const have = foundByName.get(want.name);
    return have === undefined ? [] : [{ want, have }];
  });
  return {
    missing: wanted.filter(({ name }) => !foundByName.has(name) && !unreadByName.has(name))
      .map(({ name, shape }) => ({ name, expected: show(shape), found: undefined })),
    unexpected: found.filter(({ name }) => !wantedNames.has(name))
      .map(({ name, shape }) => ({ name, expected: undefined, found: show(shape) })),
    wrongShape: present.filter(({ want, have }) => show(want.shape) !== show(have.shape))
      .map(({ want, have }) => ({
        name: want.name,
        expected: show(want.shape),
        found: show(have.shape),
      })),
    wrongDtype: [
      ...present
        .map(({ want, have }) => ({ ...have, accepted: want.dtypes ?? ACCEPTED }))
        .filter(({ dtype, accepted }) => !(accepted as readonly string[]).includes(dtype))
        .map(({ name, dtype, accepted }) => ({ name, expected: accepted.join("/"), found: dtype })),
      ...wanted.filter(({ name }) => unreadByName.has(name)).map(({ name, dtypes }) => ({
        name,
        expected: (dtypes ?? READABLE_DTYPES).join("/"),
        found: `something else (${unreadByName.get(name)})`,
      })),
    ],
  };
}

/** Runs of whole numbers: 0, 1, 2, 5 → "0-2,5". */
function ranges(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end] + 1) end++;
    parts.push(end === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return parts.join(",");
}

/** The first whole part of a name that is a number: a layer. */
const LAYER = /(^|[./])(\d+)(?=[./]|$)/;

/** Differences that are alike but for the layer become one line: `layers.{0-17}.mlp`. */
function collapse(differences: readonly TensorDifference[]): string[] {
  const groups = new Map<string, { first: TensorDifference; layers: number[] }>();
  for (const difference of differences) {
    const layer = LAYER.exec(difference.name)?.[2];
    const pattern = difference.name.replace(LAYER, "$1{}");
    const key = JSON.stringify([pattern, difference.expected, difference.found]);
    const group = groups.get(key) ?? { first: difference, layers: [] };
    if (layer !== undefined) group.layers.push(Number(layer));
    groups.set(key, group);
  }
  return [...groups.values()].map(({ first: { name, expected, found }, layers }) => {
    const shown = layers.length > 1 ? name.replace(LAYER, `$1{${ranges(layers)}}`) : name;
    const clauses = [
      expected === undefined ? "" : `expected ${expected}`,
      found === undefined ? "" : `found ${found}`,
    ].filter((clause) => clause !== "");
    return `${shown}: ${clauses.join(", ")}`;
  });
}

/**
 * Write differences for people, grouped by kind; layers that differ alike share a line.
 *
 * @param differences What {@link compareTensors} found.
 * @returns Lines of the form `missing (2):` and `  name: expected […], found […];`; empty when there
 *   is no difference. They can also be read when joined to one line.
 */
export function describeDifferences(differences: TensorDifferences): string[] {
  const groups: readonly (readonly [string, readonly TensorDifference[]])[] = [
    ["missing", differences.missing],
    ["unexpected", differences.unexpected],
    ["wrong shape", differences.wrongShape],
    ["wrong dtype", differences.wrongDtype],
  ];
  return groups.filter(([, list]) => list.length > 0).flatMap(([kind, list]) => {
    const lines = collapse(list);
    const rest = lines.length - MAX_LINES;
    const shown = lines.slice(0, MAX_LINES).map((line) => `  ${line};`);
    return [`${kind} (${list.length}):`, ...shown, ...(rest > 0 ? [`  and ${rest} more;`] : [])];
  });
}

/**
 * Make sure that a file holds what a model wants, before anything of it is read.
 *
 * @param wanted What the model wants.
 * @param found What the file holds.
 * @param what Completes "Cannot use …", such as `/data/pi0 as gemma_2b`.
 * @param unread What it holds in a form that is not read.
 * @throws {CheckpointError} With every difference, grouped: name, expected, found.
 */
export function checkTensors(
  wanted: readonly WantedTensor[],
  found: readonly FoundTensor[],
  what: string,
  unread: readonly UnreadTensor[] = [],
): void {
  const differences = compareTensors(wanted, found, unread);
  const lines = describeDifferences(differences);
  if (lines.length === 0) return;
  const count = new Set(Object.values(differences).flat().map(({ name }) => name)).size;
  const tensors = count === 1 ? "1 tensor does" : `${count} tensors do`;
  throw new CheckpointError(
    [`Cannot use ${what}: ${tensors} not fit the ${wanted.length} that it has.`, ...lines]
      .join("\n"),
  );
}
