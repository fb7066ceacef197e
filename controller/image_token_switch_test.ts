import assert from "node:assert/strict";
import { ImageTokenSwitch } from "./image_token_switch.ts";

Deno.test("ImageTokenSwitch is on between the weights of a learner that wants them and the next welcome", () => {
  const tokens = new ImageTokenSwitch();
  assert.equal(tokens.isOn, false);
  tokens.onWelcome({ wantsImageTokens: true });
  assert.equal(tokens.isOn, false, "the controller's own checkpoint acts");
  tokens.onWeights();
  assert.equal(tokens.isOn, true);
  tokens.onWelcome({ wantsImageTokens: true });
  assert.equal(tokens.isOn, false, "the weights of the learner before act");
  tokens.onWeights();
  assert.equal(tokens.isOn, true);
  tokens.onWelcome({ wantsImageTokens: false });
  tokens.onWeights();
  assert.equal(tokens.isOn, false);
});
