import { counterScenario } from './toy.js';

export const scenarios = [counterScenario('none')];
