//! What `create`, `expose`, `autoscale` and `run` make of their flags.

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn objects_from_flags() {
    let s = Server::start().await;
    for line in [
        "create clusterrole x --verb=get,list --resource=pods,deployments.apps/scale --resource=svc",
        "create clusterrole x --verb=get,foo --resource=pods --resource-name=a --resource-name=b",
        "create clusterrole x --aggregation-rule=a=b,c=d",
        "create clusterrole x --verb=get,get --non-resource-url=/healthz,/x",
        "create clusterrole x --verb=*,get --resource=*",
        "create clusterrole x --verb=get",
        "create clusterrole x --resource=pods",
        "create clusterrole x --verb=watch --non-resource-url=/x",
        "create clusterrole x --verb=get --resource=bananas",
        "create role x --verb=get --resource=pods/log,cm",
        "create role x --verb=get",
        "create clusterrolebinding x --clusterrole=a --user=u --user=b --group=g --serviceaccount=n:s",
        "create rolebinding x --role=a --serviceaccount=n:s",
        "create rolebinding x --clusterrole=a --user=u -n shop",
        "create rolebinding x --user=u",
        "create rolebinding x --role=r --serviceaccount=s",
        "create job j --image=i",
        "create cronjob c --image=i --schedule=@daily --restart=Never",
        "create ingress i --rule=foo.com/bar=svc1:8080,tls=my-cert --rule=foo.com/*=s:http --class=c",
        "create ingress i --default-backend=d:80 --annotation=a=b --rule=/x=s:80 --rule=h/=s:1,tls",
        "create ingress i",
        "create ingress i --rule=nonsense",
        "create pdb p --selector=app=a,b=c --min-available=1",
        "create poddisruptionbudget p --selector=app=a --max-unavailable=50%",
        "create pdb p --selector=app=a",
        "create pdb p --min-available=1",
        "create priorityclass p --value=1000 --description=x --global-default",
        "create priorityclass p --value=-1 --preemption-policy=Never",
        "create quota q --hard=cpu=1,pods=2 --scopes=BestEffort",
        "create quota q",
        "create service nodeport n --tcp=80:8080 --node-port=30001",
        "create service nodeport n --tcp=80:8080 --tcp=5",
        "create service clusterip c --clusterip=None",
        "create service clusterip c --tcp=80:http -n shop",
        "create service clusterip c",
        "create service loadbalancer l --tcp=80:http",
        "create service externalname e --external-name=a.b",
        "create svc externalname e --external-name=a.b --tcp=80",
        "create configmap c --from-literal=a=1 --append-hash",
        "create secret generic g --from-literal=a=1 --append-hash",
        "create secret docker-registry r --docker-username=u",
        "create secret tls t --cert=/nonexistent --key=/nonexistent",
        "run p --image=x --port=80 --expose",
        "run p --image=x --restart=Never --privileged --env=A=b=c",
        "run p --image=x --restart=OnFailure --image-pull-policy=Never --annotations=a=b",
    ] {
        s.same(&format!("{line} --dry-run=client -o yaml")).await;
        s.same(&format!("{line} --dry-run=client")).await;
    }
    s.same("create job j --image=i --dry-run=client -o yaml -- sleep 5").await;
    s.same("create cronjob c --image=i --schedule=@daily --dry-run=client -o yaml -- a b").await;
    s.same("create configmap c --from-literal=a=1 --dry-run=client -o go-template={{.data.a}}")
        .await;
    s.same("create configmap c --from-literal=a=1 --dry-run=client --template={{.kind}}").await;
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_autoscalers_of_workloads() {
    let s = Server::start().await;
    s.run("create deployment web --image=nginx --port=80").await;
    s.run("create deployment bare --image=nginx").await;
    s.run("run p --image=x --port=5 --labels=a=b,c=d").await;
    for line in [
        "expose deployment web --port=80 --target-port=8000",
        "expose deployment web",
        "expose deploy/web --name=other --type=NodePort --protocol=UDP",
        "expose deploy web --port=80,81 --labels=x=y --selector=s=t",
        "expose deploy bare",
        "expose pod p --port=80 --external-ip=1.2.3.4 --session-affinity=ClientIP",
        "expose pod p --cluster-ip=None --load-balancer-ip=5.6.7.8",
        "expose deployment none --port=80",
        "expose node n --port=80",
        "autoscale deployment web --min=2 --max=5 --cpu-percent=80",
        "autoscale deploy/web --max=5 --name=other",
        "autoscale deploy web --min=3 --max=2",
    ] {
        s.same(&format!("{line} --dry-run=client -o yaml")).await;
        s.same(&format!("{line} --dry-run=client")).await;
    }
    assert_eq!(s.run("expose deployment web").await, "service/web exposed\n");
    s.same("expose service web --port=81 --name=again --dry-run=client -o yaml").await;
    s.same("expose deployment web").await;
    s.settle();
}
