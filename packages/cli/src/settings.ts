export const SETTINGS: readonly { key: string; about: string }[] = []
