/** How severe a line of the log is, from the most severe; `silent`: nothing is logged. */
export const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
