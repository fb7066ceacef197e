/**
 * Checks the documentation of every export with `deno doc --lint`.
 *
 * One finding is left out: common/policy/tensors.ts gives tfjs's types names of our own and the parts of
 * common/config's schema are zod's types, and the linter counts a type of an npm package as private
 * wherever it stands.
 *
 * @module
 */

const ALLOWED =
  /^error\[private-type-ref\][\s\S]*common\/(policy\/tensors|config\/(field|ppo_schema))\.ts/;

/** Every source file that is not a test. */
async function sourceFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) files.push(...await sourceFiles(`${folder}/${name}`));
    else if (name.endsWith(".ts") && !name.endsWith("_test.ts")) files.push(`${folder}/${name}`);
  }
  return files.sort();
}

const folders = ["common", "controller", "learner", "scripts", "tests"];
const files = (await Promise.all(folders.map(sourceFiles))).flat();
const { code, stderr } = await new Deno.Command(Deno.execPath(), {
  args: ["doc", "--lint", ...files],
  env: { NO_COLOR: "1" },
  stdout: "null",
  stderr: "piped",
}).output();
const text = new TextDecoder().decode(stderr);
const findings = text.split(/\n(?=error)/).filter((part) => /^error\[/.test(part));
const serious = findings.filter((finding) => !ALLOWED.test(finding));
if (code !== 0 && findings.length === 0) {
  console.error(text);
  Deno.exit(1);
}
for (const finding of serious) console.error(finding);
console.log(`Documentation of ${files.length} files: ${serious.length} problems`);
Deno.exit(serious.length > 0 ? 1 : 0);
