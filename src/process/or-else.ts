/** Questions to the system that it may have no descriptor, thread or memory to answer with. */

/**
 * What `ask` answers, or `other` where it throws. For all that the system is asked in a timer or an event: an exception there
 * ends the process, and every connection with it.
 */
export function orElse<T>(other: T, ask: () => T): T {
  try {
    return ask();
  } catch {
    return other;
  }
}
