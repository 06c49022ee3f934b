import { expect, test } from "vitest";
import { createHubFetch } from "../../src/hub/hub-fetch.js";

const question = { endpoint: "https://hub.example/mirror", repo: "acme/tiny", revision: "main", hasToken: true };

test.each([
  ["https://hub.example/api/models/acme/tiny", "Bearer hf_x"],
  ["https://hub.example/other", "Bearer hf_x"],
  ["https://cdn.hub.example/file", null],
  ["https://hub.example.evil/file", null],
  ["https://hub.example:8443/file", null],
  ["http://hub.example/file", null],
])("a request to %s carries %s", async (url, expected) => {
  for (const input of [url, new URL(url), new Request(url)]) {
    const sent: (string | null)[] = [];
    const fake: typeof fetch = async (_input, init) => {
      sent.push(new Headers(init?.headers).get("authorization"));
      return new Response("");
    };
    await createHubFetch({ question, token: "hf_x", signal: undefined, fetch: fake })(input);
    expect(sent).toEqual([expected]);
  }
});

test("what the caller asks for stays: headers and method", async () => {
  const fake: typeof fetch = async (_input, init) =>
    Response.json([init?.method, new Headers(init?.headers).get("range")]);
  const hubFetch = createHubFetch({ question, token: undefined, signal: undefined, fetch: fake });
  const response = await hubFetch(question.endpoint, { method: "HEAD", headers: { range: "bytes=5-" } });
  expect(await response.json()).toEqual(["HEAD", "bytes=5-"]);
});
