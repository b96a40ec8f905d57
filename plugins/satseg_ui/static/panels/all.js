// The panels of a project, in the order they are read.

import { approvals } from "./approvals.js";
import { challenger } from "./challenger.js";
import { champion } from "./champion.js";
import { data } from "./data.js";
import { drift } from "./drift.js";
import { dropZone } from "./drop_zone.js";
import { health } from "./health.js";
import { history } from "./history.js";
import { loop } from "./loop.js";
import { maps } from "./maps.js";
import { models } from "./models.js";
import { runs } from "./runs.js";
import { splitMap } from "./split_map.js";
import { training } from "./training.js";

export const plans = [approvals, loop, champion, challenger, models, maps, drift, data, dropZone, splitMap, training, runs, history, health];
