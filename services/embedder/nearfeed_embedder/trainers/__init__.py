"""How each model that `train --model` names is made: from posts and readings to a run."""
