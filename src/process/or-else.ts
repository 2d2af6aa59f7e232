/** For questions that the system may lack the descriptor, thread or memory to answer. */

/**
 * The result of `ask`, or `other` if it throws. For system calls made in a timer or event, where an exception
 * would end the process with all its connections.
 */
export function orElse<T>(other: T, ask: () => T): T {
  try {
    return ask();
  } catch {
    return other;
  }
}
