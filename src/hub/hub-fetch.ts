// The fetch() of every request to the hub, ours and the library's. Adds the token, for the endpoint only; passes the
// abort signal; turns failures into HubErrors. Knows nothing of models or files.

import { InterruptedError } from "../errors.js";
import { errorOfAnswer, errorOfContent, errorOfNetwork, type HubQuestion, shown } from "./hub-errors.js";

export type Fetch = typeof fetch;

interface HubFetchOptions {
  readonly question: HubQuestion;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly fetch: Fetch;
}

/**
 * Makes the fetch() for the library's functions. They get no `accessToken`, because the library refuses tokens that do
 * not begin with "hf_" and sends them to any address that a Link header names.
 */
export function createHubFetch({ question, token, signal, fetch: send }: HubFetchOptions): Fetch {
  const { origin } = new URL(question.endpoint);
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("user-agent", "create-kv-scales");
    // fetch() decompresses answers that are compressed all the same, piece by piece; the bytes are counted after that.
    headers.set("accept-encoding", "identity");
    // fetch() itself drops this header when a redirect leads to another origin.
    if (token !== undefined && originOf(input) === origin) headers.set("authorization", `Bearer ${token}`);
    const signals = [signal, init?.signal].filter((one) => one !== undefined && one !== null);
    let response: Response;
    try {
      response = await send(input, { ...init, headers, signal: AbortSignal.any(signals) });
    } catch (cause) {
      if (signal?.aborted) throw new InterruptedError();
      throw errorOfNetwork(question, cause);
    }
    const encoding = response.headers.get("content-encoding") ?? "";
    // Nobody needs several layers of compression: it is an attack.
    if (response.ok && !encoding.includes(",")) return response;
    // An unread body keeps its connection open until it is garbage-collected.
    await response.body?.cancel().catch(() => undefined);
    if (!response.ok) throw errorOfAnswer(question, response);
    throw errorOfContent(question, `expected an answer without compression, found ${shown(encoding)}`);
  };
}

function originOf(input: Parameters<Fetch>[0]): string {
  return new URL(input instanceof Request ? input.url : input).origin;
}
