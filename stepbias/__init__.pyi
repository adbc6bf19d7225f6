from stepbias.kernels.loss import Loss as Loss
from stepbias.kernels.trajectories import flow as flow
from stepbias.kernels.trajectories import global_error as global_error
from stepbias.kernels.trajectories import iterate as iterate
from stepbias.kernels.trajectories import memory_terms as memory_terms
from stepbias.kernels.trajectories import vector_field as vector_field
from stepbias.theory.optimizers import Adam as Adam
from stepbias.theory.optimizers import RMSProp as RMSProp
from stepbias.theory.optimizers import from_optax as from_optax
from stepbias.theory.optimizers import from_torch as from_torch
from stepbias.theory.schedules import IID as IID
from stepbias.theory.schedules import Cyclic as Cyclic
from stepbias.theory.schedules import Reshuffled as Reshuffled
from stepbias.verify import strategies as strategies
from stepbias.verify import testing as testing
from stepbias.verify.coefficient import leading_coefficient as leading_coefficient
from stepbias.verify.fit import fit_order as fit_order
from stepbias.verify.orders import measure_order as measure_order
from stepbias.verify.registry import claims as claims
from stepbias.verify.runner import run_claims as run_claims

__version__: str
__all__: list[str]
