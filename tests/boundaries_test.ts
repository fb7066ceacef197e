import assert from "node:assert/strict";
import {
  importsOf,
  isTestFile,
  readSourceFiles,
  resolveImport,
  type SourceFile,
  withoutCommentLines,
} from "./source_files.ts";

const FILES = await readSourceFiles();

/** Which top-level folders the files of each may import. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  common: ["common"],
  controller: ["controller", "common"],
  learner: ["learner", "common"],
};

/** These know nothing of tensors, so that they load at once and run anywhere. */
const WITHOUT_TFJS = ["common/wire/", "common/robot/", "common/tokenizer/"];

const folderOf = (path: string) => path.split("/")[0];
const isEntryPoint = (path: string) => path.startsWith("scripts/") || path.endsWith("/main.ts");

/** Every line of code that matches, as `path:line: text`. */
function linesMatching(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    withoutCommentLines(text).split("\n").flatMap((line, i) =>
      pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []
    )
  );
}

Deno.test("importsOf() finds every kind of import, and none in a doc comment", () => {
  const text = [
    'import a from "./a.ts";',
    'import {\n  b,\n  type B,\n} from "./b.ts";',
    'import type { C } from "./c.ts";',
    'export * from "./d.ts";',
    'import "./e.ts";',
    'const f = await import("./f.ts");',
    '/**\n * import g from "./g.ts";\n */',
    '// import h from "./h.ts";',
    'export type { I } from "./i.ts";',
  ].join("\n");
  assert.deepEqual(
    importsOf(text).map(({ specifier }) => specifier).sort(),
    [
      ..."abcdefi",
    ].map((name) => `./${name}.ts`),
  );
  assert.deepEqual(
    importsOf(text).filter(({ isTypeOnly }) => isTypeOnly).map(({ specifier }) => specifier),
    ["./c.ts", "./i.ts"],
  );
});

Deno.test("the tests of boundaries see all three programs' folders", () => {
  for (const folder of Object.keys(MAY_IMPORT)) {
    const imports = FILES.filter(({ path }) => folderOf(path) === folder).flatMap((f) => f.imports);
    assert.ok(imports.length > 0, folder);
  }
});

Deno.test("controller and learner import common and never each other", () => {
  const strays = FILES.flatMap(({ path, imports }) => {
    const allowed = MAY_IMPORT[folderOf(path)];
    if (allowed === undefined) return [];
    return imports
      .map(({ specifier }) => resolveImport(path, specifier))
      .filter((target) => target !== undefined && !allowed.includes(folderOf(target)))
      .map((target) => `${path} imports ${target}`);
  });
  assert.deepEqual(strays, []);
});

Deno.test("wire, robot and tokenizer reach no tfjs, not even through others", () => {
  const byPath = new Map(FILES.map((file) => [file.path, file]));
  const strays: string[] = [];
  for (const start of FILES.filter(({ path }) => WITHOUT_TFJS.some((d) => path.startsWith(d)))) {
    const routes = new Map([[start.path, start.path]]);
    for (const [path, route] of routes) { // a Map yields what is added while it is walked
      for (const { specifier, isTypeOnly } of byPath.get(path)?.imports ?? []) {
        if (isTypeOnly) continue;
        if (specifier.includes("tensorflow")) strays.push(`${route} → ${specifier}`);
        const target = resolveImport(path, specifier);
        if (target !== undefined && !routes.has(target)) {
          routes.set(target, `${route} → ${target}`);
        }
      }
    }
  }
  assert.deepEqual(strays, []);
});

Deno.test("modules come from deno.json's import map, Node's builtins or this project", () => {
  const strays = FILES.flatMap(({ path, imports }) =>
    imports
      .filter(({ specifier }) => /^(jsr|https?|npm|file|data):/.test(specifier))
      .map(({ specifier }) => `${path} imports ${specifier}`)
  );
  assert.deepEqual(strays, []);
});

Deno.test("only main.ts files and scripts read arguments and environment, take signals or exit", () => {
  const others = FILES.filter(({ path }) => !isEntryPoint(path) && !isTestFile(path));
  const pattern =
    /\bDeno\.(args|env|exit|exitCode|addSignalListener)\b|\bprocess\.(argv|env|exit|on)\b/;
  assert.deepEqual(linesMatching(others, pattern), []);
});

Deno.test("library code never writes to the console", () => {
  const others = FILES.filter(({ path }) =>
    !isEntryPoint(path) && !isTestFile(path) && !path.startsWith("common/cli/")
  );
  assert.deepEqual(linesMatching(others, /\bconsole\./), []);
});

Deno.test("library code takes its random numbers from a seeded generator", () => {
  const others = FILES.filter(({ path }) => !isTestFile(path));
  assert.deepEqual(linesMatching(others, /\bMath\.random\b/), []);
});
