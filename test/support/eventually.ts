/** Waiting for what has no event to wait for, without guessing how long it takes. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Tries the assertion again and again until it passes; after `timeoutMs` its last failure is thrown. */
export async function eventually(assertion: () => void | Promise<void>, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await sleep(10);
  }
}
