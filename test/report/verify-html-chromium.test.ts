// The HTML of a verification in a real browser, opened from disk: silent, asks for nothing, draws its plots in both colour
// schemes, fits a narrow screen, and answers to pointer and keys.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { VerifyResult } from "../../src/pipeline/verify-result.js";
import { verifyHtml } from "../../src/report/verify-html.js";
import { Chromium, findChromium, type OpenPage, type Screen } from "../helpers/headless-chromium.js";
import { ARMS, LAYERS, ORIGIN, resultOf, VARIANTS } from "./verify-fixture.js";

const PATH = findChromium();
const WIDTHS = [1280, 400];
const SCHEMES = ["light", "dark"] as const;

/** As many layers as a large model has, and windows as long as any. */
const LARGE = resultOf({
  arms: ARMS.map((arm) => ({
    ...arm,
    layers: Array.from({ length: 80 }, (_, layer) => ({ ...(LAYERS[layer % 2] ?? LAYERS[0]), layer })).filter(
      (layer): layer is (typeof LAYERS)[number] => "k" in layer,
    ),
  })),
  layerEffects: Array.from({ length: 80 }, (_, layer) => ({ layer, meanKl: 1e-3, perplexityRatio: 1, agreement: 1 })),
  positionBins: Array.from({ length: 12 }, (_, bin) => ({
    first: bin === 0 ? 0 : 32 * 2 ** bin,
    end: 64 * 2 ** bin,
    positions: 100,
    meanKl: { fp8: 0.001 * (bin + 1), exact: 1e-6 },
  })),
});

const RESULTS: Readonly<Record<string, VerifyResult>> = {
  usual: resultOf(),
  "of 80 layers": LARGE,
  ...Object.fromEntries(
    [
      "with retrieval",
      "inconclusive",
      "with hostile texts",
      "with figures that are not numbers",
      "with huge figures",
      "with nothing beside",
    ].map((name) => [name, VARIANTS[name] ?? resultOf()]),
  ),
};

/** Pixels of a plot that have a colour of the page's style. */
function countPixels(page: OpenPage, plot: string, color: string): Promise<number> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('[data-plot="${plot}"] canvas');
    const hex = getComputedStyle(document.documentElement).getPropertyValue("${color}").trim();
    const wanted = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4)
      if (data[at + 3] === 255 && wanted.every((part, index) => Math.abs(data[at + index] - part) < 3)) count++;
    return count;
  })()`);
}

/** Until the browser has laid out and painted what was changed. */
function painted(page: OpenPage): Promise<unknown> {
  return page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
}

const reason = PATH === undefined ? " (skipped: no Chromium on the PATH or at CHROME_PATH)" : "";

describe.skipIf(PATH === undefined)(`in Chromium${reason}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "create-kv-scales-html-"));
  let browser: Chromium;
  beforeAll(() => {
    browser = new Chromium(PATH ?? "");
  });
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(result: VerifyResult, screen: Screen): Promise<OpenPage> {
    const file = join(folder, "report #1.html");
    writeFileSync(file, verifyHtml(result, ORIGIN));
    const page = await browser.open(pathToFileURL(file).href, screen);
    await painted(page);
    return page;
  }

  describe.each(Object.entries(RESULTS))("a result %s", (_name, result) => {
    const screens = WIDTHS.flatMap((width) => SCHEMES.map((scheme) => ({ width, scheme })));

    test.each(screens)("logs nothing, asks for nothing, draws and fits: $width pixels, $scheme", async (screen) => {
      const page = await open(result, screen);
      expect(page.console).toEqual([]);
      expect(page.requests).toHaveLength(1);
      const found = await page.evaluate<{ plots: number; canvases: number; width: number; wide: string[] }>(`({
        plots: document.querySelectorAll("[data-plot]").length,
        canvases: [...document.querySelectorAll("[data-plot] canvas")].filter(({ clientWidth }) => clientWidth > 100).length,
        width: document.documentElement.scrollWidth,
        wide: [...document.querySelectorAll("body *")]
          .filter((element) => !element.closest(".scroll, .tip, .spoken, .u-wrap, thead"))
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
          .map(({ outerHTML }) => outerHTML.slice(0, 80)),
      })`);
      expect(found).toEqual({ plots: found.plots, canvases: found.plots, width: expect.any(Number), wide: [] });
      expect(found.width).toBeLessThanOrEqual(screen.width);
      expect(found.plots).toBeGreaterThanOrEqual(8);
      expect(await countPixels(page, "flushed-k", "--series-fp8")).toBeGreaterThan(100);
      await page.close();
    });
  });

  test("when the scheme changes, the open page follows: ground, text and plots", async () => {
    const page = await open(resultOf(), { width: 1280, scheme: "light" });
    const look = () =>
      page.evaluate<string[]>(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]",
      );
    const light = await look();
    await page.setScheme("dark");
    await painted(page);
    const dark = await look();
    expect(dark[0]).not.toBe(light[0]);
    expect(dark[1]).not.toBe(light[1]);
    for (const [plot, color] of [
      ["sqnr-k", "--series-fp8"],
      ["effects", "--series-measured"],
      ["positions", "--series-fp8-at-1"],
    ] as const)
      expect(await countPixels(page, plot, color), plot).toBeGreaterThan(50);
    await page.close();
  });

  test("text can be told from its ground in both schemes: a contrast of at least 4.5", async () => {
    for (const scheme of SCHEMES) {
      const page = await open(resultOf(), { width: 1280, scheme });
      const low = await page.evaluate<string[]>(`(() => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
          const hex = style.getPropertyValue(name).trim();
          const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
        const pairs = [["--text", "--page"], ["--text", "--surface"], ["--muted", "--page"], ["--muted", "--surface"],
          ["--pass", "--pass-soft"], ["--fail", "--fail-soft"], ["--note", "--note-soft"], ["--text", "--mark"],
          ["--text", "--pass-soft"], ["--text", "--fail-soft"], ["--text", "--note-soft"], ["--pass", "--surface"]];
        return pairs.filter(([a, b]) => !(contrast(a, b) >= 4.5)).map((pair) => pair.join(" on "));
      })()`);
      expect(low, scheme).toEqual([]);
      await page.close();
    }
  });

  test("where the pointer is, the plot tells its values, and its neighbours show where", async () => {
    const page = await open(resultOf(), { width: 1280, height: 6000, scheme: "light" });
    const { x, y } = await page.evaluate<{ x: number; y: number }>(`(() => {
      const { x, y, width, height } = document.querySelector('[data-plot="sqnr-k"] .u-over').getBoundingClientRect();
      return { x: x + width * 3 / 8, y: y + height / 2 };
    })()`);
    for (const step of [0, 1]) await page.send("Input.dispatchMouseEvent", { type: "mouseMoved", x: x + step, y });
    await painted(page);
    const tips = await page.evaluate<string[]>(
      `[...document.querySelectorAll(".tip")].filter(({ hidden }) => !hidden).map(({ innerText }) => innerText.replaceAll(/\\s+/g, " "))`,
    );
    expect(tips).toEqual(["Layer 1 fp8 8.2 dB fp8-at-1 8.2 dB e5m2 8.2 dB 16-bit 8.2 dB"]);
    const lines = await page.evaluate<string[]>(
      `[...document.querySelectorAll("[data-plot]")].filter((plot) => /translate\\([1-9]/.test(plot.querySelector(".u-cursor-x")?.style.transform)).map(({ dataset }) => dataset.plot)`,
    );
    expect(lines).toContain("absmax-v");
    await page.close();
  });

  test("arrow keys walk through the places and say them aloud; Escape ends it", async () => {
    const page = await open(resultOf(), { width: 400, scheme: "dark" });
    const press = async (key: string) => {
      await page.send("Input.dispatchKeyEvent", { type: "keyDown", key });
      await painted(page);
      return page.evaluate<{ spoken: string; shown: number }>(
        `({ spoken: document.getElementById("spoken").textContent, shown: [...document.querySelectorAll(".tip")].filter(({ hidden }) => !hidden).length })`,
      );
    };
    await page.evaluate(`document.querySelector('[data-plot="absmax-k"]').focus()`);
    await press("ArrowRight");
    expect(await press("ArrowRight")).toEqual({
      spoken:
        "K, Layer 1: largest in the text: 9.0000e+5, limit with the scales: 12.230, limit at scale 1.0 (448): 448.00",
      shown: 1,
    });
    expect((await press("End")).spoken).toMatch(/^K, Layer 3: largest in the text: NaN, /);
    expect((await press("Escape")).shown).toBe(0);
    await page.close();
  });

  test("a series of the legend can be hidden, in K and V alike, and shown again", async () => {
    const page = await open(resultOf(), { width: 1280, scheme: "light" });
    const click = async () => {
      await page.evaluate(`document.querySelector('#figure-flushed button[data-series="fp8"]').click()`);
      await painted(page);
      return Promise.all(["flushed-k", "flushed-v", "sqnr-k"].map((plot) => countPixels(page, plot, "--series-fp8")));
    };
    const [k, v, other] = await click();
    expect([k, v]).toEqual([0, 0]);
    expect(other).toBeGreaterThan(100);
    expect(Math.min(...(await click()))).toBeGreaterThan(100);
    await page.close();
  });

  test("on paper it is light, in a dark browser too", async () => {
    const page = await open(resultOf(), { width: 1280, scheme: "dark" });
    const ground = await page.evaluate<string>(`(() => {
      dispatchEvent(new Event("beforeprint"));
      return getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
    })()`);
    expect(ground).toMatch(/^#f/);
    await painted(page);
    expect(await countPixels(page, "flushed-k", "--series-fp8")).toBeGreaterThan(100);
    await page.close();
  });
});
