/** Whether the cases run that `npm test` leaves to `npm run test:long`, which sets LONG_TESTS. */
export const thorough = Boolean(process.env.LONG_TESTS);
