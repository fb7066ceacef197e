/**
 * The names of tensors as an indented tree. Layers that look alike share one branch.
 * @module
 */

/** A tensor to show. */
export interface ShownTensor {
  /** Name, with `/` or `.` between its parts. */
  readonly name: string;
  /** Dimensions. */
  readonly shape: readonly number[];
  /** Number format. */
  readonly dtype: string;
}

interface Branch {
  readonly children: Map<string, Branch>;
  leaf?: ShownTensor;
}

function insert(root: Branch, tensor: ShownTensor): void {
  const separator = tensor.name.includes("/") ? "/" : ".";
  let branch = root;
  for (const part of tensor.name.split(separator)) {
    const child = branch.children.get(part) ?? { children: new Map<string, Branch>() };
    branch.children.set(part, child);
    branch = child;
  }
  branch.leaf = tensor;
}

function linesOf(branch: Branch): string[] {
  const lines: string[] = [];
  let run: { first: string; last: string; body: readonly string[] } | undefined;
  const flush = () => {
    if (run === undefined) return;
    const name = run.first === run.last ? run.first : `${run.first}…${run.last}`;
    const [head, ...rest] = run.body;
    lines.push(`${name}${head}`, ...rest);
    run = undefined;
  };
  const isNumber = (name: string) => /^\d+$/.test(name);
  const sorted = [...branch.children].sort(([a], [b]) =>
    isNumber(a) && isNumber(b) ? Number(a) - Number(b) : 0
  );
  for (const [name, child] of sorted) {
    const leaf = child.leaf ? `  [${child.leaf.shape.join(", ")}] ${child.leaf.dtype}` : "";
    const body = [leaf, ...linesOf(child).map((line) => `  ${line}`)];
    const continues = run !== undefined && isNumber(name) && isNumber(run.last) &&
      Number(name) === Number(run.last) + 1 && run.body.join("\n") === body.join("\n");
    if (run !== undefined && continues) run.last = name;
    else {
      flush();
      run = { first: name, last: name, body };
    }
  }
  flush();
  return lines;
}

/**
 * Lay tensors out as a tree.
 *
 * @param tensors What to show, in any order.
 * @returns Lines; branches are indented by two spaces, leaves end in shape and number format, and
 *   consecutive layers with the same content become one branch such as `0…17`.
 */
export function tensorTree(tensors: readonly ShownTensor[]): string[] {
  const root: Branch = { children: new Map() };
  for (const tensor of [...tensors].sort((a, b) => a.name < b.name ? -1 : 1)) insert(root, tensor);
  return linesOf(root);
}
