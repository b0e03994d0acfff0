// node three_open.cjs ADDRESS-OF-PAGE CHROMIUM OUT
// Opens the page in headless Chromium, writes OUT-front.png and OUT-top.png, prints its answer as JSON.
// NODE_PATH has to name the node_modules that hold playwright-core.
const fs = require('fs');
const { chromium } = require('playwright-core');

const FLAGS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

(async () => {
  const [address, executablePath, out] = process.argv.slice(2);
  const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: 120000 });
  const page = await browser.newPage();
  page.on('console', (message) => console.error(message.text()));
  await page.goto(address, { timeout: 120000 });
  await page.waitForFunction(() => window.answer, null, { timeout: 120000 });
  const { front, top, ...answer } = await page.evaluate(() => window.answer);
  for (const [name, data] of Object.entries({ front, top })) {
    if (data) fs.writeFileSync(`${out}-${name}.png`, Buffer.from(data.split(',')[1], 'base64'));
  }
  console.log(JSON.stringify(answer));
  await browser.close();
})();
