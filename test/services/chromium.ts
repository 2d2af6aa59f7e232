/** What a page has become in a real browser after a while, and pages to act in. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { launch, run } from './process.ts';

const quiet = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Chromium's document after so many milliseconds, in which its clock runs ahead while nothing is waited for. */
export async function documentAfter(t: Pick<TestContext, 'after'>, url: string, ms: number): Promise<string> {
  const directory = temporaryDirectory(t);
  const args = [...quiet, `--user-data-dir=${directory}`, `--virtual-time-budget=${ms}`, '--dump-dom', url];
  const { code, stdout, stderr } = await run('chromium', args, { env: { HOME: directory } });
  if (code !== 0) throw new Error(`chromium ended with ${code}: ${stderr}`);
  return stdout;
}

/** The rows of a document's tables by the headings above them, each a list of what its cells say. */
export function tablesOf(html: string): Map<string, string[][]> {
  const tables = new Map<string, string[][]>();
  for (const [, section = ''] of html.matchAll(/<section>(.*?)<\/section>/gs)) {
    const title = /<h2[^>]*>(.*?)<\/h2>/s.exec(section)?.[1] ?? '';
    const rows = [...section.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row = '']) =>
      [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell = '']) =>
        unescapeHtml(cell.replace(/<[^>]*>/g, '')),
      ),
    );
    tables.set(unescapeHtml(title), rows);
  }
  return tables;
}

/** The text of the element with this id. */
export function textOf(html: string, id: string): string {
  return unescapeHtml(new RegExp(`id="${id}"[^>]*>(.*?)<`, 's').exec(html)?.[1] ?? '');
}

function unescapeHtml(text: string): string {
  const characters: Record<string, string> = { lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', amp: '&' };
  return text.replace(/&(lt|gt|quot|nbsp|amp);/g, (_, name: string) => characters[name] ?? '');
}

/** A page that a test looks at, and acts in. */
export type BrowserPage = {
  /** The value of an expression in the page; promises are awaited. */
  readonly evaluate: <T>(expression: string) => Promise<T>;
  /** A PNG of the whole page. */
  readonly picture: () => Promise<Buffer>;
};

export type Look = { readonly width?: number; readonly height?: number; readonly dark?: boolean };

/** Opens a page in a headless Chromium, by its DevTools protocol. Closed after the test. */
export async function openPage(
  t: Pick<TestContext, 'after'>,
  url: string,
  { width = 1120, height = 1000, dark = false }: Look = {},
): Promise<BrowserPage> {
  const directory = temporaryDirectory(t);
  const chromium = launch(
    'chromium',
    [
      ...quiet,
      '--hide-scrollbars',
      '--remote-debugging-port=0',
      `--user-data-dir=${directory}`,
      'about:blank',
    ],
    { env: { HOME: directory } },
  );
  t.after(async () => {
    chromium.child.kill();
    await chromium.finished;
  });
  const socket = new WebSocket(await debuggerOf(directory));
  await new Promise((open) => socket.addEventListener('open', open));
  const call = createCall(socket);
  t.after(() => socket.close());
  await call('Emulation.setDeviceMetricsOverride', {
    width,
    height,
    deviceScaleFactor: 1,
    mobile: width < 600,
  });
  const scheme = { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' };
  await call('Emulation.setEmulatedMedia', { features: [scheme] });
  await call('Page.navigate', { url });
  return {
    async evaluate<T>(expression: string) {
      const given = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await call('Runtime.evaluate', given);
      if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
      return (result as { value?: unknown }).value as T;
    },
    async picture() {
      const { data } = await call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
      return Buffer.from(String(data), 'base64');
    },
  };
}

type Answer = Readonly<Record<string, unknown>>;

function createCall(socket: WebSocket): (method: string, params: object) => Promise<Answer> {
  const waiting = new Map<number, (answer: Answer) => void>();
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: Answer };
    if (id !== undefined) waiting.get(id)?.(result ?? {});
  });
  return (method, params) =>
    new Promise((resolve) => {
      last += 1;
      waiting.set(last, resolve);
      socket.send(JSON.stringify({ id: last, method, params }));
    });
}

async function debuggerOf(directory: string): Promise<string> {
  let port = '';
  await eventually(() => {
    port = readFileSync(join(directory, 'DevToolsActivePort'), 'utf8').split('\n')[0] ?? '';
  }, 30_000);
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    type: string;
    webSocketDebuggerUrl: string;
  }[];
  const found = targets.find(({ type }) => type === 'page');
  if (found === undefined) throw new Error('Chromium shows no page');
  return found.webSocketDebuggerUrl;
}
