/**
 * How a matrix that is larger than one storage binding may be is bound in several, split by rows.
 *
 * One binding takes at most 2^31 − 1 bytes even on large cards, and 128 MiB on the software renderer:
 * the embedding of Gemma is 527 MB in int8 and 2.1 GB in float32.
 *
 * @module
 */

/** Some whole rows of a matrix. */
export interface BindingPart {
  /** The first of them. */
  readonly firstRow: number;
  /** How many. */
  readonly rows: number;
  /** Where they begin in the matrix, in bytes; a multiple of the alignment. */
  readonly offsetBytes: number;
  /** How many bytes they have. */
  readonly sizeBytes: number;
}

/** Storage bindings are whole numbers of 32-bit words (WebGPU, "createBindGroup"). */
const WORD_BYTES = 4;

/**
 * Split a matrix into as few parts as can be, of nearly equal size so that each is worth its dispatch.
 *
 * @param bytes Of the whole matrix: a multiple of `rowBytes`, above 0.
 * @param maxBindingBytes Most bytes of a part.
 * @param alignment Every part begins at a multiple of it: 1 where each gets a buffer of its own, the
 *   device's `bindingAlignment` where they share one.
 * @param rowBytes Of one row: a multiple of 4.
 * @returns The parts in order; they cover every row once.
 * @throws {RangeError} A number is not what it has to be, or not even the fewest rows that keep the
 *   alignment fit one binding.
 */
export function planBindings(
  bytes: number,
  maxBindingBytes: number,
  alignment: number,
  rowBytes: number,
): BindingPart[] {
  checkWhole("rowBytes", rowBytes, WORD_BYTES);
  checkWhole("bytes", bytes, rowBytes);
  checkWhole("alignment", alignment, 1);
  const rows = bytes / rowBytes;
  // Parts of a multiple of so many rows begin where the alignment wants it.
  const step = alignment / greatestCommonDivisor(alignment, rowBytes);
  // The last part may be any number of rows, so one part alone needs no multiple.
  const most = Math.floor(maxBindingBytes / rowBytes);
  if (rows <= most) return [{ firstRow: 0, rows, offsetBytes: 0, sizeBytes: bytes }];
  const mostInStep = Math.floor(most / step) * step;
  if (!(mostInStep > 0)) {
    throw new RangeError(
      `Cannot bind a matrix of ${rows} rows of ${rowBytes} bytes: ${
        Math.min(step, rows)
      } rows do ` +
        `not fit one binding, which takes at most ${maxBindingBytes} bytes; split its columns`,
    );
  }
  const count = Math.ceil(rows / mostInStep);
  const each = Math.ceil(rows / count / step) * step;
  const parts: BindingPart[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += each) {
    const partRows = Math.min(each, rows - firstRow);
    parts.push({
      firstRow,
      rows: partRows,
      offsetBytes: firstRow * rowBytes,
      sizeBytes: partRows * rowBytes,
    });
  }
  return parts;
}

function checkWhole(name: string, value: number, of: number): void {
  if (Number.isSafeInteger(value) && value > 0 && value % of === 0) return;
  throw new RangeError(
    `Cannot plan bindings: ${name} is ${value}, expected a multiple of ${of} above 0`,
  );
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
