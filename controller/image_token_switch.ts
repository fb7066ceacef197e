/**
 * Whether chunks are to bring what the policy's image encoder made of their pictures.
 *
 * @module
 */

import type { WelcomeMessage } from "../common/wire/messages.ts";

/**
 * On while the learner wants image tokens and its own encoder makes them: before its first weights have
 * come, those are of the controller's checkpoint, which may be another policy's, and no use to it.
 */
export class ImageTokenSwitch {
  #areWanted = false;
  #areLearners = false;

  /** Whether the chunks that begin now bring them. */
  get isOn(): boolean {
    return this.#areWanted && this.#areLearners;
  }

  /** A learner has said who it is, perhaps another one than before. @param learner Its words. */
  onWelcome(learner: Pick<WelcomeMessage, "wantsImageTokens">): void {
    this.#areWanted = learner.wantsImageTokens;
    this.#areLearners = false;
  }

  /** Weights of the learner that was heard last act from now on. */
  onWeights(): void {
    this.#areLearners = true;
  }
}
