/**
 * The byte level under the FAST tokenizer's BPE: text is split into words, each word into its
 * UTF-8 bytes, and each byte is written as one printable character.
 *
 * A FAST "text" has one character a DCT coefficient. Characters from 128 on take two bytes, so a
 * token may end in the middle of one; {@link stepUtf8} follows such partial characters one byte
 * at a time, for the decoder and for the grammar of constrained decoding alike.
 *
 * @module
 */

/**
 * One past the greatest character code that a coefficient may take. From here on come the
 * surrogates, which UTF-8 cannot write; a vocabulary never grows so large.
 */
export const MAX_ALPHABET_SIZE = 0xd800;

/** How GPT-2 writes each byte: itself where that prints, else a character from 256 on. */
const byteToChar: readonly string[] = buildByteToChar();
const charToByte: ReadonlyMap<string, number> = new Map(byteToChar.map((c, byte) => [c, byte]));

/**
 * GPT-2's word split. White_Space and not `\s`: the reference engine counts U+0085 as space and
 * U+FEFF not, JavaScript the other way round.
 */
const WORD_PATTERN =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const utf8 = new TextEncoder();

function buildByteToChar(): string[] {
  const chars: string[] = [];
  let unprintable = 0;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    chars.push(String.fromCharCode(isPrintable ? byte : 256 + unprintable++));
  }
  return chars;
}

/**
 * Split text into the words that BPE merges within.
 *
 * @param text Any text.
 * @returns Its words in order; joined they give the text again.
 */
export function splitWords(text: string): string[] {
  return text.match(WORD_PATTERN) ?? [];
}

/** What the word split asks of a character. */
const LETTER = 1, NUMBER = 2, SPACE = 3, OTHER = 4;

/** Kinds already looked up, by code; 0 where not yet. */
const kinds = new Uint8Array(MAX_ALPHABET_SIZE);

function kindOf(code: number): number {
  return kinds[code] || (kinds[code] = lookUpKind(String.fromCharCode(code)));
}

function lookUpKind(char: string): number {
  if (/\p{L}/u.test(char)) return LETTER;
  if (/\p{N}/u.test(char)) return NUMBER;
  return /\p{White_Space}/u.test(char) ? SPACE : OTHER;
}

const code = (char: string) => char.charCodeAt(0);
const [BLANK, QUOTE, S, T, R, E, V, M, L, D] = [..." 'strevmld"].map(code);

/**
 * Where the word that begins at a place ends: {@link splitWords} without making strings.
 *
 * @param codes Character codes, each below {@link MAX_ALPHABET_SIZE}.
 * @param from Index of the word's first character.
 * @returns Index one past its last.
 */
export function endOfWord(codes: Uint16Array, from: number): number {
  const { length } = codes;
  const first = codes[from];
  if (first === QUOTE) {
    const a = codes[from + 1];
    const b = codes[from + 2];
    if (a === S || a === T || a === M || a === D) return from + 2;
    if ((b === E && (a === R || a === V)) || (a === L && b === L)) return from + 3;
  }
  const start = first === BLANK && from + 1 < length && kindOf(codes[from + 1]) !== SPACE
    ? from + 1
    : from;
  const kind = kindOf(codes[start]);
  let to = start + 1;
  while (to < length && kindOf(codes[to]) === kind) to++;
  // Of several spaces the last goes to the next word.
  return kind === SPACE && to < length && to - from > 1 ? to - 1 : to;
}

/**
 * The byte-level characters that stand for a text's UTF-8 bytes.
 *
 * @param text Any text without lone surrogates.
 * @returns One character a byte.
 */
export function toByteChars(text: string): string[] {
  return Array.from(utf8.encode(text), (byte) => byteToChar[byte]);
}

/**
 * The bytes that a token of the vocabulary decodes to. A token with a character outside the byte
 * alphabet stands for its own UTF-8 bytes, as in the reference decoder; the raw control
 * characters of the FAST alphabet are such tokens.
 *
 * @param token The token as the vocabulary writes it.
 * @returns Its bytes, possibly a part of a character.
 */
export function tokenToBytes(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = charToByte.get(char);
    if (byte === undefined) return utf8.encode(token);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/**
 * Take one byte of a UTF-8 stream whose characters must lie below a bound.
 *
 * A pending character is one integer: 0 for none, else its bits so far, its length and the bytes
 * still missing. A prefix is refused as soon as no character below the bound can complete it, so
 * a pending character always has a completion.
 *
 * @param pending What the bytes before left unfinished; 0 at the start.
 * @param byte The next byte, 0–255.
 * @param alphabetSize Characters must be below this, at most {@link MAX_ALPHABET_SIZE}.
 * @returns −1 if the byte cannot follow; a positive number, the new pending character, if more
 * bytes must follow; −2 − c if the byte completes the character c.
 */
export function stepUtf8(pending: number, byte: number, alphabetSize: number): number {
  if (pending === 0) {
    if (byte < 0x80) return byte < alphabetSize ? -2 - byte : -1;
    // 0xC0 and 0xC1 only start overlong forms, 0xF0 and up lie beyond the largest alphabet.
    if (byte < 0xc2 || byte >= 0xf0) return -1;
    return byte < 0xe0
      ? pendingChar(byte & 0x1f, 2, 1, alphabetSize)
      : pendingChar(byte & 0x0f, 3, 2, alphabetSize);
  }
  if ((byte & 0xc0) !== 0x80) return -1;
  const missing = (pending & 3) - 1;
  const length = (pending >> 2) & 3;
  return pendingChar(((pending >> 4) << 6) | (byte & 0x3f), length, missing, alphabetSize);
}

function pendingChar(bits: number, length: number, missing: number, alphabetSize: number): number {
  const lowest = bits << (6 * missing);
  const highest = lowest | ((1 << (6 * missing)) - 1);
  const shortest = length === 2 ? 0x80 : 0x800; // below this the form is overlong
  if (highest < shortest || Math.max(lowest, shortest) >= alphabetSize) return -1;
  return missing === 0 ? -2 - bits : (bits << 4) | (length << 2) | missing;
}
