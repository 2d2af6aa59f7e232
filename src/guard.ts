/**
 * Imported before all else: without a listener, SIGUSR1 opens Node's inspector, which is a way into the process for whoever
 * may signal it. `run` adds what the signal is for.
 */
process.on('SIGUSR1', () => {});
