"""What may befall a cluster at any time, for stories that are told at random; ``number`` chooses among many."""

from tests.fakes.controllers import starting
from tests.fakes.shop import Shop

from penstock_operator.core.names import ROUTER
from penstock_operator.core.objects import Kind
from penstock_operator.ports import ClusterUnavailable


def stop_pods(shop: Shop, number: int) -> None:
    names = shop.names(Kind.DEPLOYMENT)
    if names:
        shop.controllers.kubelets[names[number % len(names)]] = starting


def start_pods(shop: Shop, _: int) -> None:
    shop.controllers.kubelets.clear()


def silence_a_router(shop: Shop, number: int) -> None:
    shop.router.silent = {f"{ROUTER}-{number % 2}"}


def fail_writes(shop: Shop, number: int) -> None:
    shop.cluster.fail(ClusterUnavailable("etcd is away"), times=number % 7)


def restart(shop: Shop, _: int) -> None:
    shop.restart_operator()
