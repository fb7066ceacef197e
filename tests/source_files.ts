/**
 * The project's own TypeScript files and what they import, for tests of the code's shape.
 *
 * @module
 */

import { dirname, join, relative } from "node:path";

/** Absolute path of the project's root. */
export const ROOT: string = join(import.meta.dirname ?? ".", "..");

/** One import or re-export. */
export interface Import {
  /** What stands in the quotes. */
  readonly specifier: string;
  /** The import brings types alone, so it is gone when the program runs. */
  readonly isTypeOnly: boolean;
}

/** One TypeScript file. */
export interface SourceFile {
  /** Path from the project's root, with forward slashes. */
  readonly path: string;
  /** Its text. */
  readonly text: string;
  /** Everything that it imports or re-exports. */
  readonly imports: readonly Import[];
}

// Statements begin a line, which tells them from examples in doc comments.
const STATEMENT = /^[ \t]*(?:import|export)\s+(type\s)?[^"'`;]*?\bfrom\s*["']([^"']+)["']/gm;
const SIDE_EFFECT = /^[ \t]*import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"']+)["']/g;

/**
 * Find the imports of a file.
 *
 * @param text TypeScript.
 * @returns Static, side-effect and dynamic imports with literal specifiers, and re-exports.
 */
export function importsOf(text: string): Import[] {
  const code = withoutCommentLines(text);
  return [
    ...[...code.matchAll(STATEMENT)].map(([, type, specifier]) => ({
      specifier,
      isTypeOnly: type !== undefined,
    })),
    ...[SIDE_EFFECT, DYNAMIC].flatMap((pattern) =>
      [...code.matchAll(pattern)].map(([, specifier]) => ({ specifier, isTypeOnly: false }))
    ),
  ];
}

/**
 * Blank the lines that are comments from their first character on.
 *
 * @param text TypeScript.
 * @returns The same number of lines.
 */
export function withoutCommentLines(text: string): string {
  return text.replace(/^[ \t]*(\/\/|\/?\*).*$/gm, "");
}

/**
 * Where an import leads.
 *
 * @param file Path of the importing file from the root.
 * @param specifier What it imports.
 * @returns Path from the root for a relative import; undefined for a package or a builtin.
 */
export function resolveImport(file: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? join(dirname(file), specifier) : undefined;
}

/**
 * Names of the top-level folders that belong to the project: neither hidden nor ignored by git.
 *
 * @returns Sorted names.
 */
export async function topLevelFolders(): Promise<string[]> {
  const ignored = (await Deno.readTextFile(join(ROOT, ".gitignore")))
    .split("\n")
    .map((line) => line.trim().replaceAll("/", ""));
  const folders: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(ROOT)) {
    if (isDirectory && !name.startsWith(".") && !ignored.includes(name)) folders.push(name);
  }
  return folders.sort();
}

async function* typescriptFiles(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* typescriptFiles(path);
    else if (entry.isFile && entry.name.endsWith(".ts")) yield path;
  }
}

/**
 * Read every TypeScript file of the project.
 *
 * @returns The files, sorted by path.
 */
export async function readSourceFiles(): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const folder of await topLevelFolders()) {
    for await (const path of typescriptFiles(join(ROOT, folder))) {
      const text = await Deno.readTextFile(path);
      files.push({
        path: relative(ROOT, path).replaceAll("\\", "/"),
        text,
        imports: importsOf(text),
      });
    }
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Whether a file is a test or serves tests alone.
 *
 * @param path Path from the root.
 */
export function isTestFile(path: string): boolean {
  return path.startsWith("tests/") || /(_test|\/testing)\.ts$/.test(path);
}
