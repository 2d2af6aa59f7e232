/** `penstock top`: shows a running penstock in the terminal, from its admin endpoint. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../observe/status.ts';
import { type AdminAddress, adminAddress, type PlaceFlags } from '../control/admin-address.ts';
import { askStatus } from '../control/ask.ts';
import { UsageError } from '../terminal/usage.ts';
import { cutToHeight, frameLines, type Screen } from './frame.ts';

type TopOptions = PlaceFlags & {
  /** Print once and exit, as also happens if the output is not a terminal. */
  readonly once?: boolean | undefined;
};

const period = 2_000;
/** q, Q, Ctrl-C and Ctrl-D, which are ordinary keys in raw mode. */
const quitKeys = [0x71, 0x51, 0x03, 0x04];

/** Resolves with the exit code: 0, 1 if no penstock answers, 2 if the options name no place to ask. */
export async function top({ once, ...place }: TopOptions): Promise<number> {
  let address: AdminAddress;
  let status: Status;
  try {
    address = await adminAddress(place);
    status = await askStatus(address);
  } catch (error) {
    process.stderr.write(`penstock: ${(error as Error).message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
  if (once || !process.stdout.isTTY) {
    process.stdout.write(`${frameLines(status, undefined, screen()).join('\n')}\n`);
    return 0;
  }
  await watch(address, status);
  return 0;
}

/** Redraws until `q` or Ctrl-C, then restores the terminal. */
async function watch(address: AdminAddress, first: Status): Promise<void> {
  const { stdin, stdout } = process;
  const stop = new AbortController();
  const onKey = (keys: Buffer) => {
    if (keys.some((key) => quitKeys.includes(key))) stop.abort();
  };
  const onSignal = () => stop.abort();
  let view: View = { now: first, before: undefined, lost: undefined };
  const redraw = () => draw(view);
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onKey);
  stdout.on('resize', redraw);
  stdout.write(enter);
  while (!stop.signal.aborted) {
    redraw();
    await sleep(period, undefined, { signal: stop.signal }).catch(() => {});
    if (!stop.signal.aborted) view = await refresh(address, view, stop.signal);
  }
  stdout.write(leave);
  stdout.off('resize', redraw);
  stdin.off('data', onKey).pause();
  if (stdin.isTTY) stdin.setRawMode(false);
}

type View = {
  readonly now: Status;
  readonly before: Status | undefined;
  /** Why the last request failed. */
  readonly lost: string | undefined;
};

async function refresh(address: AdminAddress, view: View, signal: AbortSignal): Promise<View> {
  try {
    return { now: await askStatus(address, signal), before: view.now, lost: undefined };
  } catch (error) {
    return { ...view, lost: (error as Error).message };
  }
}

/** Overwrites the screen line by line, since clearing it would flicker. */
function draw({ now, before, lost }: View): void {
  const size = screen();
  const lines = frameLines(now, before, size);
  if (lost !== undefined) lines.unshift(lost.slice(0, size.columns));
  process.stdout.write(`${home}${cutToHeight(lines, size).join(`${clearLine}\r\n`)}${clearBelow}`);
}

// Switches to the alternate screen, without cursor or wrapping, and back.
const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const clearLine = '\x1b[K';
const clearBelow = '\x1b[K\x1b[J';

function screen(): Screen {
  const { columns, rows, isTTY } = process.stdout;
  return { columns: columns || 100, rows: rows || 24, color: isTTY && process.env['NO_COLOR'] === undefined };
}
