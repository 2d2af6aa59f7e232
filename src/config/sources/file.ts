/** The source for configurations in a file, which names other files: certificates, keys, lists. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { buffer as readAll } from 'node:stream/consumers';
import type { Logger } from 'pino';
import { freeMemory } from '../../process/free-memory.ts';
import { atOnce } from '../../process/pacer.ts';
import { withAccepted } from '../accepted.ts';
import { ConfigError, describeFaults } from '../finding.ts';
import { type ConfigText, type LoadedConfig, loadText, sharedText } from '../load.ts';
import { isLarge, loadAside, stopLoading } from '../load-aside.ts';
import type { Adding } from '../read/added.ts';
import { readIncluded } from '../read/include.ts';
import type { ConfigSource, Offer, Watch } from '../source.ts';
import { type SendableConfig, toSend } from '../transfer.ts';
import { wholeFile } from './find-file.ts';
import { createWatcher, untilQuiet, type Watcher } from './watch.ts';

/**
 * Reads and checks a file and everything it names, once. Rejects with a ConfigError that has all faults;
 * findings name the file as given. `withoutSecrets`: for a machine that has no private keys.
 */
export async function loadConfig(
  file: string,
  environment: NodeJS.ProcessEnv = process.env,
  { withoutSecrets = false }: { withoutSecrets?: boolean } = {},
): Promise<LoadedConfig> {
  const text = await readConfigFile(file);
  return withAccepted(await loadText(text, environment, { withoutSecrets }), text);
}

const standardInput = 'standard input';

/** Reads the file and what it includes. */
export async function readConfigFile(file: string): Promise<ConfigText> {
  const isInput = file === '-';
  const absolute = resolve(file);
  const place = isInput
    ? { name: standardInput, directory: process.cwd() }
    : { name: file, directory: dirname(absolute) };
  try {
    const bytes = isInput ? await readAll(process.stdin) : await readFile(absolute);
    const included = await readIncluded(bytes, place);
    return { ...place, text: sharedText(bytes), ...(included && { included }) };
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new ConfigError([wholeFile(place.name, `${isInput ? file : absolute} cannot be read (${code})`)]);
  }
}

/**
 * Files are replaced one after the other. If a certificate's key has not arrived yet, wait for it this long
 * before it counts as a fault.
 */
const pairMs = 10_000;
const retryMs = 500;
/** With `reload: auto`: how long nothing may have changed, and how long to wait for that. */
const quietMs = 2000;
const quietAtMostMs = 60_000;
/** After so many bytes of texts, and so long after the last, their memory is given back. */
const mostRead = 16 * 2 ** 20;
const settleMs = 1000;

/** An offer, and the text that it was made of. */
export type FileOffer = Offer & { readonly text: ConfigText };

export type FileWatch = Omit<Watch, 'news'> & { readonly news: () => Promise<FileOffer> };

/**
 * Its news are changes of files that the configuration names. It does not watch the configuration's own
 * files, which an editor may save half done: a request for a reload says when they are ready. With `reload:
 * auto` it does watch them, and reads everything once they have been left alone for a while.
 */
export class FileSource implements ConfigSource {
  readonly name: string;
  readonly #given: string;
  readonly #adding: () => Adding | undefined;
  #taken: ConfigText | undefined;
  #watcher: Watcher | undefined;
  /** Watches the configuration's own files. */
  #own: Watcher | undefined;
  #isAuto = false;
  /** What was read last, whether it was good or not. */
  #seen: ConfigText | undefined;
  #hasNewText = false;
  #reading: Promise<unknown> | undefined;
  #bytesRead = 0;

  /** `adding` has what is to be served beside the file at that moment. */
  constructor(file: string, adding: () => Adding | undefined = () => undefined) {
    this.name = file === '-' ? standardInput : resolve(file);
    this.#given = file;
    this.#adding = adding;
  }

  async load(): Promise<FileOffer> {
    await this.#own?.mark();
    if (this.#taken === undefined) return this.#loadFirst(await this.#read(this.#given));
    if (this.#given === '-') throw new ConfigError([wholeFile(this.name, 'it cannot be read again')]);
    // The files that it names are not read before both are done.
    const [seen, text] = await Promise.all([this.#watcher?.mark(), this.#read(this.name)]);
    await this.#watchOwn(text);
    return this.#offer(text, await loadAside(text, seen));
  }

  /**
   * Nothing is served yet, so there is no one to keep waiting. But the thread remembers a large configuration
   * for the first change, and this one then need not have its routes. (A person at a terminal is shown some.)
   */
  async #loadFirst(text: ConfigText): Promise<FileOffer> {
    if (isLarge(text) && !process.stderr.isTTY) return this.#offer(text, await loadAside(text));
    return this.#offer(text, atOnce(toSend(await loadText(text))));
  }

  watch(onNews: () => void, logger: Logger): FileWatch {
    const [watcher, own] = [createWatcher(onNews), createWatcher(onNews)];
    this.#watcher = watcher;
    this.#own = own;
    let closed = false;
    return {
      reason: 'files changed',
      hasNews: async () => (await watcher.hasChanged()) || (await this.#hasOwnNews(own)),
      news: async () => {
        if (this.#hasNewText) {
          await untilQuiet(own, { quietMs, mostMs: quietAtMostMs });
          return this.load();
        }
        const deadline = performance.now() + pairMs;
        for (;;) {
          try {
            return await this.#reread(watcher);
          } catch (error) {
            if (closed || performance.now() >= deadline) throw error;
            const faults = describeFaults(error);
            logger.debug({ faults }, 'files changed, but do not fit yet: waiting for the rest');
          }
          await new Promise((resolve) => setTimeout(resolve, retryMs));
        }
      },
      close() {
        closed = true;
        void watcher.close();
        void own.close();
      },
    };
  }

  /** The configuration being served, with something else beside it. Rejects like `load`. */
  async loadWith(adding: Adding): Promise<SendableConfig> {
    const text = { ...(this.#taken ?? (await this.#read(this.name))), adding };
    return withAccepted(await loadAside(text), text);
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#reading, stopLoading(), this.#watcher?.close(), this.#own?.close()]);
  }

  #read(file: string): Promise<ConfigText> {
    const reading = readConfigFile(file).then((text) => {
      this.#seen = text;
      this.#hasNewText = false;
      this.#collectLater(text.text.byteLength);
      return this.#withAdding(text);
    });
    this.#reading = reading;
    return reading;
  }

  /** V8 does not count the memory of texts, and would let many of them pile up. */
  #collectLater(bytes: number): void {
    this.#bytesRead += bytes;
    if (this.#bytesRead < mostRead) return;
    this.#bytesRead = 0;
    setTimeout(() => freeMemory(undefined, 'regular'), settleMs).unref();
  }

  /** Something has changed, and not only the times of files, or what else is in their directories. */
  async #hasOwnNews(own: Watcher): Promise<boolean> {
    if (await own.hasChanged()) {
      await own.mark();
      const text = await readConfigFile(this.name).catch(() => undefined);
      this.#hasNewText = text === undefined || !isSameText(text, this.#seen);
    }
    return this.#hasNewText;
  }

  #withAdding({ adding: _, ...text }: ConfigText): ConfigText {
    const adding = this.#adding();
    return adding === undefined ? text : { ...text, adding };
  }

  /**
   * Uses the configuration being served, whatever its files say by now, and reads only the files it names.
   */
  async #reread(watcher: Watcher): Promise<FileOffer> {
    const seen = await watcher.mark();
    const text = this.#taken ? this.#withAdding(this.#taken) : await this.#read(this.name);
    return this.#offer(text, await loadAside(text, seen));
  }

  #offer(text: ConfigText, loaded: SendableConfig): FileOffer {
    return {
      text,
      loaded: withAccepted(loaded, text),
      take: async () => {
        this.#taken = { ...text, name: this.name };
        this.#isAuto = loaded.config.reload === 'auto' && this.#given !== '-';
        await this.#watcher?.setFiles(loaded.files.filter((name) => name !== this.name));
        await this.#watchOwn(text);
      },
    };
  }

  /** Also of a configuration that turns out to be faulty: whoever mends it changes one of these. */
  async #watchOwn({ included = { files: [], directories: [] } }: ConfigText): Promise<void> {
    const files = included.files.map(({ name }) => resolve(name));
    await this.#own?.setFiles(this.#isAuto ? [this.name, ...included.directories, ...files] : []);
  }
}

function isSameText(one: ConfigText, other: ConfigText | undefined): boolean {
  const parts = (text: ConfigText) => [
    Buffer.from(text.text),
    ...(text.included?.files ?? []).map((file) =>
      'text' in file
        ? Buffer.concat([Buffer.from(`${file.name} `), Buffer.from(file.text)])
        : Buffer.from(file.name),
    ),
  ];
  if (other === undefined) return false;
  const [mine, others] = [parts(one), parts(other)];
  return mine.length === others.length && mine.every((part, index) => others[index]?.equals(part));
}
