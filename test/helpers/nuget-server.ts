// The host that CUDA's libraries come from, on this machine: a proxy that leads every name to a TLS server which answers
// as NuGet's feed does. The script that downloads is the real one; the libraries are a few bytes.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer as createProxy, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import { createRequire } from "node:module";
import { type AddressInfo, connect, type Server } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { temporaryFolder } from "./run-cli-folders.js";

const HOST = "api.nuget.org";
const NATIVE = "runtimes/linux-x64/native";
const NAMES = ["cuda", "shared", "tensorrt"].map((name) => `libonnxruntime_providers_${name}.so`);

interface Zip {
  addFile(path: string, content: Buffer): void;
  toBuffer(): Buffer;
}

/** How the package is sent. */
export type Delivery = "whole" | "cut-short" | "never-ending" | "missing" | "of-something-else";

/** Starts both for a test, which hears when a part of the package was sent; returns the environment that leads a program to them. */
export async function startNuget(
  delivery: Delivery,
  onSent: () => void = () => undefined,
): Promise<Readonly<Record<string, string>>> {
  const folder = temporaryFolder();
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", `/CN=${HOST}`, "-addext", `subjectAltName=DNS:${HOST}`, "-keyout", key, "-out", certificate];
  execFileSync("openssl", [...request, ...names], { stdio: "ignore" });

  const feed = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, ({ url = "" }, response) =>
    answer(url, response, { delivery, onSent }),
  );
  const feedPort = await listen(feed);
  const proxy = createProxy().on("connect", (_request, socket) => {
    const tunnel = connect(feedPort, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      tunnel.pipe(socket).pipe(tunnel);
    });
    for (const end of [tunnel, socket]) end.on("error", () => undefined);
  });
  const port = await listen(proxy);
  return { HTTPS_PROXY: `http://127.0.0.1:${port}`, NODE_EXTRA_CA_CERTS: certificate };
}

function listen(server: Server): Promise<number> {
  onTestFinished(() => {
    server.close();
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)).unref();
  });
}

function answer(
  url: string,
  response: ServerResponse,
  { delivery, onSent }: { readonly delivery: Delivery; readonly onSent: () => void },
): void {
  const json = (value: unknown) =>
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (url === "/v3/index.json")
    json({ resources: [{ "@type": "PackageBaseAddress/3.0.0", "@id": `https://${HOST}/packages/` }] });
  else if (url.endsWith("/index.json")) json({ versions: ["1.29.0", "1.30.0"] });
  else if (!url.endsWith(".nupkg") || delivery === "missing") response.writeHead(404).end();
  else {
    const bytes = nupkg(delivery === "of-something-else" ? "not a library" : "\x7fELF of a test");
    response.writeHead(200, { "content-length": bytes.length });
    if (delivery === "cut-short") response.write(bytes.subarray(0, 100), () => response.destroy());
    else if (delivery === "never-ending") response.write(bytes.subarray(0, 100), onSent);
    else response.end(bytes);
  }
}

/** A NuGet package is a zip file. */
function nupkg(content: string): Buffer {
  const AdmZip = createRequire(import.meta.url)("adm-zip") as new () => Zip;
  const zip = new AdmZip();
  for (const name of NAMES) zip.addFile(`${NATIVE}/${name}`, Buffer.from(`${content}: ${name}`, "latin1"));
  return zip.toBuffer();
}
