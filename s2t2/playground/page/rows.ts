/** The methods that the page offers, in the order of the table; their explanations are the report's. */
export const methodNames: readonly string[] = [
  'source',
  'truncated',
  'random',
  'fvt',
  'fvt-spread',
  'dense',
  's2t2',
  'scratch',
];
