/**
 * What a policy is besides its weights: tokenizers, statistics, sizes and conventions.
 *
 * @module
 */

import type { ActionMode, ValueInput } from "../config/config.ts";
import type { DialectName, NormalizationMode } from "../tokenizer/dialect.ts";
import type { FastTokenizer } from "../tokenizer/fast.ts";
import type { LanguageTokenizer } from "../tokenizer/language.ts";
import type { NormStats } from "../tokenizer/normalization.ts";
import type { PolicyVariant } from "./variants.ts";

/** What turns observations into tokens and tokens into actions. */
export interface PolicyAssets {
  /** Action tokenizer. */
  readonly fast: FastTokenizer;
  /** Text tokenizer. */
  readonly language: LanguageTokenizer;
  /** Normalisation of state and actions. */
  readonly stats: NormStats;
}

/** Shape of a policy's chunks and how its critic reads them. */
export interface PolicyShape {
  /** Sizes of the network. */
  readonly variant: PolicyVariant;
  /** H. */
  readonly horizon: number;
  /** A: 7 or 14. */
  readonly actionDim: number;
  /** Most text tokens of a sequence, prompt and action together. */
  readonly maxTokenLen: number;
  /** Whose conventions the weights were trained with. Default openpi's. */
  readonly dialect?: DialectName;
  /** How states and actions are normalised; the dialect's way if absent. */
  readonly normalization?: NormalizationMode;
  /** What the numbers of an action are; `delta` if absent. */
  readonly actionMode?: ActionMode;
  /** States and actions are in the convention of openpi's base models; false if absent. */
  readonly adaptToPi?: boolean;
  /** Only tokens are drawn with which a chunk still decodes; true if absent. */
  readonly constrainedDecoding?: boolean;
  /** Width of the critic's hidden layers. */
  readonly valueHeadHiddenDim: number;
  /** What the critic reads. */
  readonly valueInput: ValueInput;
  /** Most action tokens that the `chunk` critic reads. */
  readonly maxValueSteps: number;
  /** The value loss trains the critic alone, not the backbone that it reads. */
  readonly isCriticDetached: boolean;
}
