/** The source for configurations in a file, which names other files: certificates, keys, lists. */
import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Logger } from 'pino';
import { atOnce } from '../../process/pacer.ts';
import { ConfigError, describeFaults, type Finding } from '../finding.ts';
import { type ConfigText, type LoadedConfig, loadText, sharedText } from '../load.ts';
import { loadAside, stopLoading } from '../load-aside.ts';
import type { Adding } from '../read/added.ts';
import type { ConfigSource, Offer, Watch } from '../source.ts';
import { type SendableConfig, toSend } from '../transfer.ts';
import { createWatcher, type Watcher } from './watch.ts';

/**
 * Reads and checks a file and everything it names, once. Rejects with a ConfigError that has all faults;
 * findings name the file as given.
 */
export async function loadConfig(
  file: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<LoadedConfig> {
  return loadText(await readConfigFile(file), environment);
}

/** The file given by `-c`, or else `./penstock.yaml`, or else `/etc/penstock/penstock.yaml`. */
export async function findConfigFile(option?: string): Promise<string> {
  if (option !== undefined) return option;
  const candidates = ['penstock.yaml', '/etc/penstock/penstock.yaml'];
  for (const candidate of candidates) {
    const isThere = await access(candidate).then(
      () => true,
      () => false,
    );
    if (isThere) return candidate;
  }
  const message = `there is neither ${resolve('penstock.yaml')} nor ${candidates[1]}`;
  throw new ConfigError([wholeFile('penstock.yaml', message)]);
}

export async function readConfigFile(file: string): Promise<ConfigText> {
  const absolute = resolve(file);
  try {
    return { name: file, directory: dirname(absolute), text: sharedText(await readFile(absolute)) };
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new ConfigError([wholeFile(file, `${absolute} cannot be read (${code})`)]);
  }
}

function wholeFile(file: string, message: string): Finding {
  return { file, line: 0, column: 0, path: '', message, hint: 'name the configuration with -c FILE' };
}

/**
 * Files are replaced one after the other. If a certificate's key has not arrived yet, wait for it this long
 * before it counts as a fault.
 */
const pairMs = 10_000;
const retryMs = 500;

/** An offer, and the text that it was made of. */
export type FileOffer = Offer & { readonly text: ConfigText };

export type FileWatch = Omit<Watch, 'news'> & { readonly news: () => Promise<FileOffer> };

/**
 * Its news are changes of files that the configuration names. It does not watch the configuration's own file,
 * which an editor may save half done: a request for a reload says when it is ready.
 */
export class FileSource implements ConfigSource {
  readonly name: string;
  readonly #given: string;
  readonly #adding: () => Adding | undefined;
  #taken: ConfigText | undefined;
  #watcher: Watcher | undefined;
  #reading: Promise<unknown> | undefined;

  /** `adding` has what is to be served beside the file at that moment. */
  constructor(file: string, adding: () => Adding | undefined = () => undefined) {
    this.name = resolve(file);
    this.#given = file;
    this.#adding = adding;
  }

  async load(): Promise<FileOffer> {
    await this.#watcher?.mark();
    // Nothing is served yet, so there is no one to keep waiting.
    if (this.#taken === undefined) {
      const text = await this.#read(this.#given);
      return this.#offer(text, atOnce(toSend(await loadText(text))));
    }
    const text = await this.#read(this.name);
    return this.#offer(text, await loadAside(text));
  }

  watch(onNews: () => void, logger: Logger): FileWatch {
    const watcher = createWatcher(onNews);
    this.#watcher = watcher;
    let closed = false;
    return {
      reason: 'files changed',
      hasNews: watcher.hasChanged,
      news: async () => {
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
        watcher.close();
      },
    };
  }

  /** The configuration being served, with something else beside it. Rejects like `load`. */
  async loadWith(adding: Adding): Promise<SendableConfig> {
    return loadAside({ ...(this.#taken ?? (await this.#read(this.name))), adding });
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#reading, stopLoading()]);
  }

  #read(file: string): Promise<ConfigText> {
    const reading = readConfigFile(file).then((text) => this.#withAdding(text));
    this.#reading = reading;
    return reading;
  }

  #withAdding({ adding: _, ...text }: ConfigText): ConfigText {
    const adding = this.#adding();
    return adding === undefined ? text : { ...text, adding };
  }

  /**
   * Uses the configuration being served, whatever its file says by now, and reads only the files it names.
   */
  async #reread(watcher: Watcher): Promise<FileOffer> {
    await watcher.mark();
    const text = this.#taken ? this.#withAdding(this.#taken) : await this.#read(this.name);
    return this.#offer(text, await loadAside(text));
  }

  #offer(text: ConfigText, loaded: SendableConfig): FileOffer {
    return {
      text,
      loaded,
      take: async () => {
        this.#taken = { ...text, name: this.name };
        await this.#watcher?.setFiles(loaded.files.filter((name) => name !== this.name));
      },
    };
  }
}
