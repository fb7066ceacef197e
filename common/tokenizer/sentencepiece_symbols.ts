/**
 * Makes a `tokenizer.json` that was converted from a SentencePiece model, such as Gemma's, treat
 * the model's symbols as SentencePiece does. openpi tokenizes with SentencePiece itself, and two
 * things get lost in the conversion:
 *
 * - *user-defined* symbols (runs of line breaks and spaces, HTML tags, `<start_of_turn>`) are cut
 *   out of the text first, the longest at each place; a file that does not list them as added
 *   tokens merges them pair by pair like any other text, and may not arrive at them;
 * - *control* symbols (`<bos>`, `<eos>`, `<pad>`, `<unk>`) never match text; as added tokens they
 *   do, so that a task could end its own prompt.
 *
 * SentencePiece numbers control symbols first, then user-defined ones, then the 256 bytes: that is
 * how user-defined symbols are told from learnt pieces.
 *
 * @module
 */

/** Names of control symbols in the models of Gemma, PaliGemma and Llama. */
const CONTROL_NAMES = ["<pad>", "<eos>", "<bos>", "<unk>", "<s>", "</s>"];

/** Hugging Face adds it to PaliGemma's; the network has no row for it. */
const IMAGE_NAME = "<image>";

/** What SentencePiece writes for a space. */
const SPACE = "▁";

/**
 * Restore the symbols of a converted SentencePiece model.
 *
 * @param tokenizer A parsed `tokenizer.json`.
 * @returns The same with other added tokens; unchanged if it is no BPE with bytes to fall back on.
 */
export function withSentencePieceSymbols(
  tokenizer: Record<string, unknown>,
): Record<string, unknown> {
  const { model, added_tokens: added } = tokenizer;
  if (!isRecord(model) || model.type !== "BPE" || model.byte_fallback !== true) return tokenizer;
  if (!isRecord(model.vocab) || !Array.isArray(added)) return tokenizer;
  const firstByte = model.vocab["<0x00>"];
  if (typeof firstByte !== "number") return tokenizer;

  const controls = new Set([...CONTROL_NAMES, IMAGE_NAME]);
  const kept = added.filter((token) => !isRecord(token) || !controls.has(`${token.content}`));
  const known = new Set(kept.map((token) => isRecord(token) ? token.id : undefined));
  const missing = Object.entries(model.vocab)
    .filter(([content, id]) =>
      typeof id === "number" && id < firstByte && !known.has(id) && !controls.has(content)
    )
    .map(([content, id]) => ({
      id,
      content: content.replaceAll(SPACE, " "), // matched before the normaliser writes ▁
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: false,
    }));
  return { ...tokenizer, added_tokens: [...kept, ...missing] };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
