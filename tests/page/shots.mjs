// The page in a real browser: node shots.mjs URL FOLDER NAME. Needs playwright-core, and Debian's chromium.
//
// Takes FOLDER/NAME-SCHEME-WIDTH.png, dark and light, at desktop and phone width, and ends with 1 if anything sticks out
// of the window, was said on the console, failed, or was loaded beside the page itself.
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.cwd()}/`)("playwright-core");
const [url, folder, name] = process.argv.slice(2);
const windows = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
const faults = [];
for (const colorScheme of ["dark", "light"]) {
  for (const [width, viewport] of Object.entries(windows)) {
    const where = `${name}-${colorScheme}-${width}`;
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: width === "phone" ? 2 : 1 });
    const page = await context.newPage();
    page.on("console", (message) => faults.push(`${where}: the console says: ${message.text()}`));
    page.on("pageerror", (error) => faults.push(`${where}: ${error}`));
    page.on("requestfailed", (request) => faults.push(`${where}: ${request.url()} failed`));
    page.on("request", (request) => {
      if (request.url() !== url && !request.url().startsWith("data:")) faults.push(`${where}: loads ${request.url()}`);
    });
    const answer = await page.goto(url);
    if (answer.status() !== 200) faults.push(`${where}: HTTP ${answer.status()}`);
    faults.push(...(await page.evaluate(sticking)).map((what) => `${where}: sticks out: ${what}`));
    await page.screenshot({ path: `${folder}/${where}.png`, fullPage: true });
    await context.close();
  }
}
await browser.close();
for (const fault of faults) console.log(`FAULT: ${fault}`);
console.log(`${name}: ${faults.length} faults`);
process.exitCode = faults.length > 0 ? 1 : 0;

/** In the page: what is wider than the window, or than what it stands in. */
function sticking() {
  const wide = [...document.body.querySelectorAll("*")].filter((element) => {
    const box = element.getBoundingClientRect();
    return box.right > innerWidth + 0.5 || box.left < -0.5 || element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
  });
  const scrolls = document.documentElement.scrollWidth > innerWidth ? ["the page itself"] : [];
  return scrolls.concat(wide.map((element) => element.outerHTML.slice(0, 120)));
}
