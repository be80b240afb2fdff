// What a person has asked for may be refused; then the page says why, and goes on.

import { ApiError } from "./api.js";
import { say } from "./dom.js";

/** What `work` resolves to; undefined after a refusal, which has been told. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message, "error");
    return undefined;
  }
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
