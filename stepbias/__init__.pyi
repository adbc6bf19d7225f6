from stepbias.kernels.loss import Loss as Loss
from stepbias.kernels.modified_equation import modified_equation as modified_equation
from stepbias.kernels.trajectories import flow as flow
from stepbias.kernels.trajectories import global_error as global_error
from stepbias.kernels.trajectories import iterate as iterate
from stepbias.kernels.trajectories import memory_terms as memory_terms
from stepbias.kernels.trajectories import vector_field as vector_field
from stepbias.theory.optimizer import Optimizer as Optimizer
from stepbias.theory.optimizers import Adam as Adam
from stepbias.theory.optimizers import RMSProp as RMSProp
from stepbias.theory.optimizers import from_optax as from_optax
from stepbias.theory.optimizers import from_torch as from_torch
from stepbias.theory.schedules import IID as IID
from stepbias.theory.schedules import Cyclic as Cyclic
from stepbias.theory.schedules import Reshuffled as Reshuffled
from stepbias.theory.shipped import AdamW as AdamW
from stepbias.theory.shipped import GradientDescent as GradientDescent
from stepbias.theory.shipped import HeavyBall as HeavyBall
from stepbias.theory.shipped import NAdam as NAdam
from stepbias.theory.shipped import Nesterov as Nesterov
from stepbias.theory.shipped import SmoothLion as SmoothLion
from stepbias.theory.shipped import SmoothSignum as SmoothSignum
from stepbias.theory.tracing import exp as exp
from stepbias.theory.tracing import log as log
from stepbias.theory.tracing import sqrt as sqrt
from stepbias.theory.tracing import tanh as tanh
from stepbias.verify import strategies as strategies
from stepbias.verify import testing as testing
from stepbias.verify.coefficient import leading_coefficient as leading_coefficient
from stepbias.verify.fit import fit_order as fit_order
from stepbias.verify.orders import measure_order as measure_order
from stepbias.verify.registry import claims as claims
from stepbias.verify.runner import run_claims as run_claims

__version__: str
__all__: list[str]
