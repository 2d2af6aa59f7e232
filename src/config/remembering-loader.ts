/** Loads a file again and again, with what is to be served beside it, and remembers what did not change. */
import { atOnce } from '../process/pacer.ts';
import { type ConfigText, loadText, withHeld, withoutFaulty } from './load.ts';
import { PartsLoader } from './parts-loader.ts';
import { type Adding, addedTo, partedWithAdded, withContents } from './read/added.ts';
import type { Looked } from './read/file-state.ts';
import { createFiles } from './read/files.ts';
import { parseText } from './read/parse.ts';
import { fullyParted, isMapping, type Parted, wholeOf } from './read/parted.ts';
import { type Parts, parseParts } from './read/parts.ts';
import { type SendableConfig, toSend } from './transfer.ts';

/** Like `loadText` and `toSend`, but a change costs what it changes. */
export class RememberingLoader {
  readonly #loader: PartsLoader;
  #parts: Parts | undefined;
  #plain: (Parted & { readonly bytes: Uint8Array }) | undefined;

  constructor(now?: () => number) {
    this.#loader = new PartsLoader(atOnce, now);
  }

  /** How many objects the last load has checked. */
  get checked(): number {
    return this.#loader.checked;
  }

  /** How many objects it knows. */
  get remembered(): number {
    return this.#loader.remembered;
  }

  /** `looked` is what was seen of files before, which need not be looked at again. */
  async load(given: ConfigText, looked?: Looked): Promise<SendableConfig> {
    if (given.included) return this.#loadWhole(given);
    const file = this.#parse(new Uint8Array(given.text));
    // All faults are found by reading the file as a whole.
    if (file === undefined) return this.#loadWhole(given);
    return withoutFaulty(given, (adding) => this.#loadParted(given, file, { adding, looked }));
  }

  async #loadParted(
    given: ConfigText,
    file: Parted,
    { adding, looked }: { readonly adding: Adding | undefined; readonly looked: Looked | undefined },
  ): Promise<SendableConfig> {
    const { name, directory } = given;
    const added = await addedTo(adding && wholeOf(file), adding);
    const parted = added ? partedWithAdded(file, added) : file;
    if (parted === undefined || (added === undefined && hasStreamRoutes(file))) {
      return this.#loadWhole(given);
    }
    const files = withContents(createFiles({ blocking: true, looked }), added?.files);
    return this.#loader.load(parted, { name, directory, files }, (loaded) => withHeld(loaded, added));
  }

  async #loadWhole(given: ConfigText): Promise<SendableConfig> {
    this.#loader.forget();
    return atOnce(toSend(await loadText(given)));
  }

  /** undefined if it has faults. Large files are expected to be YAML that can be cut into parts. */
  #parse(bytes: Uint8Array): Parted | undefined {
    const parts = atOnce(parseParts(bytes, process.env, this.#parts));
    if (parts) {
      this.#parts = parts;
      return fullyParted(parts);
    }
    if (this.#plain && Buffer.compare(this.#plain.bytes, bytes) === 0) return this.#plain;
    const { raw, faults, locate } = parseText(bytes, process.env);
    const parted =
      faults.length === 0 && isMapping(raw) ? fullyParted({ rest: raw, lists: [], locate }) : undefined;
    this.#plain = parted && { ...parted, bytes };
    return parted;
  }
}

/** Those refuse everyone until there is something to be served beside the file. */
function hasStreamRoutes({ rest }: Parted): boolean {
  const listeners = isMapping(rest['listeners']) ? Object.values(rest['listeners']) : [];
  return listeners.some((listener) => isMapping(listener) && listener['stream_routes'] !== undefined);
}
